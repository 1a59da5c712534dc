"""Parts of uploads that were broken off: kept, hidden and charged for, until someone drops them."""

from __future__ import annotations

import logging
from typing import Any

from recsys.errors import SourceUnavailable
from recsys.objects.failures import told
from recsys.objects.folder import ObjectFolder
from recsys.objects.service import aws_client

log = logging.getLogger("recsys")


def drop_leftovers(folder: ObjectFolder) -> int:
    """Drop what broken-off uploads have left below a folder; for its holder, since nobody else may be uploading there.

    S3 lists them. Azure forgets them after a week by itself; Google needs a rule of the bucket (docs/object-stores.md).
    Where they may not be listed a warning says so: they cost money and harm nobody.

    Returns:
        How many there were.
    """
    if folder.address.scheme != "s3":
        return 0
    try:
        with told(folder.address, "cleaned"):
            dropped = _drop(folder, aws_client())
    except SourceUnavailable as error:
        log.warning("what broken-off uploads have left cannot be looked for: %s %s", error.what, error.found)
        return 0
    if dropped:
        log.info("%s: dropped the parts of %d uploads that were broken off", folder.address, dropped)
    return dropped


def _drop(folder: ObjectFolder, client: Any) -> int:
    bucket, key = folder.address.bucket, folder.address.key
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=f"{key}/" if key else "")
    uploads = [upload for page in pages for upload in page.get("Uploads", ())]
    for upload in uploads:
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    return len(uploads)
