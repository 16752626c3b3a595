"""The client of the service: its calls, typed, with its failures as our own errors. It needs no framework.

client.py      a service and a key: jobs are sent, listed, taken up again
calls.py       one method for each call that takes a model, and what each may be told
keywords.py    what that is, as types
models.py      what a model may be given as: a path, bytes, a live object, an earlier job
samples.py     what samples may be given as
files.py       paths and bytes as files
job.py         a job that was sent: waited for, followed, cancelled, downloaded
status.py      where a job stands
events.py      the same, each time that it changes
connection.py  calls over HTTP, tried again where a failure passes
download.py    a file, whole or not at all
transfer.py    files on their way, told of as progress
bar.py         a progress bar, in a terminal or a notebook
"""

from coppice.client.client import Client
from coppice.client.job import Job
from coppice.client.status import Status

__all__ = ["Client", "Job", "Status"]
