"use strict";

// What is asked of the people, apart from any page: numbers in, numbers out.
const Cases = {
  ALL: -1,

  // The people who have a label of the keypoint (ALL: any), as {row, error, share, confidence}:
  // error in image pixels, share of the box's longer side; of several keypoints the means.
  of(data, network, keypoint) {
    const { error, confidence } = data.networks[network];
    return data.rows.flatMap((person, row) => {
      const wanted = keypoint === Cases.ALL ? error[row].map((_, k) => k) : [keypoint];
      const known = wanted.filter((k) => error[row][k] !== null && confidence[row][k] !== null);
      if (known.length === 0 || !(person.side > 0)) return [];
      const mean = (values) => known.reduce((sum, k) => sum + values[k], 0) / known.length;
      const far = mean(error[row]);
      return [{ row, error: far, share: far / person.side, confidence: mean(confidence[row]) }];
    });
  },

  // Those of a range of confidence, both ends included, in an order.
  choose(cases, low, high, order) {
    const kept = cases.filter((one) => one.confidence >= low && one.confidence <= high);
    const middle = Cases.median(kept.map((one) => one.share));
    const key = {
      worst: (one) => -one.share,
      best: (one) => one.share,
      median: (one) => Math.abs(one.share - middle),
      sure: (one) => -one.share * one.confidence,
    }[order];
    return kept.sort((a, b) => key(a) - key(b) || a.row - b.row);
  },

  // Every labeled keypoint by itself, as {row, keypoint, error, confidence}.
  dots(data, network, keypoint) {
    const { error, confidence } = data.networks[network];
    return error.flatMap((values, row) =>
      values.flatMap((value, k) => {
        const asked = keypoint === Cases.ALL || keypoint === k;
        if (!asked || value === null || confidence[row][k] === null) return [];
        return [{ row, keypoint: k, error: value, confidence: confidence[row][k] }];
      }),
    );
  },

  median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  },
};

if (typeof module !== "undefined") module.exports = Cases;

if (typeof document !== "undefined") {
  const data = JSON.parse(document.getElementById("cases").textContent);
  const section = document.getElementById("people");
  const form = section.querySelector("form");
  const canvas = section.querySelector("canvas");
  const gallery = document.getElementById("gallery");
  const [more, all] = ["more", "all"].map((id) => document.getElementById(id));
  const PAGE = 18;
  const BINS = 12;
  const INK = { left: "#ff7f0e", right: "#2f9bff", middle: "#ffe14d", truth: "#fff" };
  const names = Object.keys(data.networks);
  const readable = (name) => name.replaceAll("_", " ");
  const fixed = (value) => value.toFixed(value < 10 ? 1 : 0);
  let shown = PAGE;
  let only = null;
  let drawn = [];

  const make = (tag, attributes, ...children) => {
    const svg = ["svg", "image", "line", "circle"].includes(tag);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  const asked = () => ({
    network: form.elements.network.value,
    keypoint: Number(form.elements.keypoint.value),
    low: Number(form.elements.low.value),
    high: Number(form.elements.high.value),
    order: form.elements.order.value,
    truth: form.elements.truth.checked,
  });

  // The color of each keypoint, by its side.
  const sides = data.keypoints.map(() => "middle");
  for (const [left, right] of data.pairs) [sides[left], sides[right]] = ["left", "right"];

  const skeleton = (points, color, width) =>
    data.limbs.flatMap(([a, b]) => {
      if (!points[a] || !points[b]) return [];
      const near = [a, b].map((k) => sides[k]).filter((side) => side !== "middle");
      const one = near.length && near.every((side) => side === near[0]) ? near[0] : "middle";
      const [[x1, y1], [x2, y2]] = [points[a], points[b]];
      const stroke = color ?? INK[one];
      return [make("line", { x1, y1, x2, y2, stroke, "stroke-width": width })];
    });

  const picture = (image, { network, keypoint, truth }) => {
    const [width, height] = image.size;
    const unit = Math.max(width, height) / 110;
    const points = image.points[network];
    const parts = [make("image", { href: image.source, width, height })];
    if (truth) parts.push(...skeleton(image.truth, INK.truth, 0.8 * unit));
    parts.push(...skeleton(points, null, 1.2 * unit));
    points.forEach(([cx, cy], k) => {
      if (keypoint !== Cases.ALL && keypoint !== k) return;
      const look = { fill: INK[sides[k]], stroke: "#000", "stroke-width": 0.4 * unit };
      parts.push(make("circle", { cx, cy, r: 1.7 * unit, ...look }));
    });
    if (keypoint !== Cases.ALL && image.truth[keypoint]) {
      const [[x1, y1], [x2, y2]] = [points[keypoint], image.truth[keypoint]];
      parts.push(make("line", { x1, y1, x2, y2, stroke: "#ff2d2d", "stroke-width": unit }));
      const look = { fill: "none", stroke: INK.truth, "stroke-width": 0.7 * unit };
      parts.push(make("circle", { cx: x2, cy: y2, r: 2.2 * unit, ...look }));
    }
    return make("svg", { viewBox: `0 0 ${width} ${height}` }, ...parts);
  };

  const card = (one, wanted) => {
    const { id, image } = data.rows[one.row];
    const embedded = data.images[one.row];
    const seen = embedded ? picture(embedded, wanted)
      : make("div", { class: "blank" }, "image not in this file");
    const share = `${fixed(100 * one.share)} % of the box`;
    const text = make("figcaption", {},
      make("b", {}, `${fixed(one.error)} px`), ` (${share})`, make("br", {}),
      `confidence ${one.confidence.toFixed(2)}`, make("br", {}), `${image}, person ${id}`);
    return make("figure", { "data-row": one.row }, seen, text);
  };

  // Distances below a tenth of a pixel are drawn there: a logarithm knows no zero.
  const FLOOR = 0.1;
  const draw = (wanted) => {
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    [canvas.width, canvas.height] = [width * scale, height * scale];
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const dots = Cases.dots(data, wanted.network, wanted.keypoint);
    const top = Math.max(1, ...dots.map((dot) => dot.error)) * 1.3;
    const right = Math.max(1, ...dots.map((dot) => dot.confidence));
    const box = { left: 48, right: width - 10, top: 10, bottom: height - 38 };
    const x = (value) => box.left + (value / right) * (box.right - box.left);
    const y = (value) => box.bottom - (Math.log(Math.max(value, FLOOR) / FLOOR)
      / Math.log(top / FLOOR)) * (box.bottom - box.top);
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = "#5c5c5c";
    pen.strokeStyle = "#e4e4e4";
    pen.textAlign = "right";
    for (let power = -1; 10 ** power < top; power += 1) {
      const level = y(10 ** power);
      pen.beginPath();
      pen.moveTo(box.left, level);
      pen.lineTo(box.right, level);
      pen.stroke();
      pen.fillText(`${10 ** power} px`, box.left - 5, level + 4);
    }
    pen.textAlign = "center";
    for (let tick = 0; tick <= right + 1e-9; tick += 0.2) {
      pen.fillText(tick.toFixed(1), x(tick), box.bottom + 16);
    }
    pen.fillText("confidence", (box.left + box.right) / 2, height - 6);
    drawn = dots.map((dot) => {
      const inside = dot.confidence >= wanted.low && dot.confidence <= wanted.high;
      const chosen = only !== null && dot.row === only;
      pen.fillStyle = chosen ? "#d4145a" : inside ? "rgba(0, 90, 160, .35)" : "rgba(0, 0, 0, .1)";
      pen.beginPath();
      pen.arc(x(dot.confidence), y(dot.error), chosen ? 4 : 2.2, 0, 7);
      pen.fill();
      return { ...dot, x: x(dot.confidence), y: y(dot.error) };
    });
    const bins = Array.from({ length: BINS }, () => []);
    for (const dot of dots) {
      bins[Math.min(BINS - 1, Math.floor((dot.confidence / right) * BINS))].push(dot.error);
    }
    pen.strokeStyle = "#0a3d6b";
    pen.lineWidth = 2;
    pen.beginPath();
    bins.forEach((errors, bin) => {
      if (errors.length) pen.lineTo(x(((bin + 0.5) * right) / BINS), y(Cases.median(errors)));
    });
    pen.stroke();
  };

  const update = () => {
    const wanted = asked();
    const everybody = Cases.of(data, wanted.network, wanted.keypoint);
    const chosen = only === null
      ? Cases.choose(everybody, wanted.low, wanted.high, wanted.order)
      : everybody.filter((one) => one.row === only);
    const what = wanted.keypoint === Cases.ALL ? "mean of the labeled keypoints"
      : readable(data.keypoints[wanted.keypoint]);
    const middle = chosen.length ? `, median error ${
      fixed(Cases.median(chosen.map((one) => one.error)))} px` : "";
    document.getElementById("summary").textContent =
      `${chosen.length} of ${data.rows.length} people, ${what}${middle}`;
    gallery.replaceChildren(...chosen.slice(0, shown).map((one) => card(one, wanted)));
    more.hidden = chosen.length <= shown;
    all.hidden = only === null;
    draw(wanted);
  };

  for (const name of names) {
    form.elements.network.append(make("option", { value: name }, readable(name)));
  }
  form.elements.keypoint.append(make("option", { value: Cases.ALL }, "all"));
  data.keypoints.forEach((name, k) => {
    form.elements.keypoint.append(make("option", { value: k }, readable(name)));
  });
  // A heatmap's peak may be a little above 1.
  const surest = Math.max(1, ...names.flatMap((name) => data.networks[name].confidence.flat()));
  form.elements.high.value = form.elements.high.max = (Math.ceil(surest * 20) / 20).toFixed(2);
  const reset = () => {
    [shown, only] = [PAGE, null];
    update();
  };
  form.addEventListener("input", reset);
  form.addEventListener("submit", (event) => event.preventDefault());
  all.addEventListener("click", reset);
  more.addEventListener("click", () => {
    shown += PAGE;
    update();
  });
  canvas.addEventListener("click", ({ offsetX, offsetY }) => {
    const far = (dot) => Math.hypot(dot.x - offsetX, dot.y - offsetY);
    const near = drawn.reduce((best, dot) => (best && far(best) <= far(dot) ? best : dot), null);
    if (near === null) return;
    only = near.row;
    update();
  });
  window.addEventListener("resize", () => draw(asked()));
  section.hidden = false;
  update();
}
