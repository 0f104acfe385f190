"""From a set's name to what has to be fetched."""

from sspcm_kedro.downloads.sets import Download, DownloadConfig


def choose_parts(download: DownloadConfig) -> Download:
    """What to fetch; the catalog entry that saves it does the fetching.

    Raises:
        BadInput: no set or folder is named, or the set has no such part.
    """
    return download.choose()
