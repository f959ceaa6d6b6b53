"""Decisions about single tags: the condition keys `openecr:...`, which ECR does not have (docs/differences.md).

A request is decided once for each tag that it adds, moves or removes, in the transaction that does it, and once with
the tag's key absent where it touches none. Reads are not decided so: what has no tag can be pulled by digest.
"""

from collections.abc import Sequence

from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.domain.images import Image


def check_writes(
    grant: Grant, tags: Sequence[str], *, digest: Digest, media_type: str, artifact_type: str | None
) -> None:
    """Decide what is about to be done to an image under each of `tags`. Raises AccessDenied."""
    if grant.check is None:
        return
    for tag in tags or (None,):
        grant.check_write(
            imagetag=tag,
            imagedigest=str(digest),
            manifestmediatype=media_type,
            artifacttype=artifact_type,
        )


def check_removal(grant: Grant, image: Image, tag: str | None) -> None:
    """Decide the removal of one tag, or of an image with all its tags. Raises AccessDenied."""
    check_writes(
        grant,
        image.tags if tag is None else (tag,),
        digest=image.digest,
        media_type=image.media_type,
        artifact_type=image.artifact_type,
    )
