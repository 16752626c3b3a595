"""Files in and out of the service, under keys that are checked before they are used.

Here: `Storage` (put, get, fetch, delete), the keys and what a stored file is. Not here: who may read which file
(`jobs.desk`), and HTTP.
"""

from coppice.storage.files import Download, Folder, Label, StoredFile
from coppice.storage.keys import is_txid, job_prefixes, result_key, safe_name, upload_key
from coppice.storage.store import Storage

__all__ = [
    "Download",
    "Folder",
    "Label",
    "Storage",
    "StoredFile",
    "is_txid",
    "job_prefixes",
    "result_key",
    "safe_name",
    "upload_key",
]
