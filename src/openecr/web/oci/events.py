"""How calls of the registry protocol stand in the audit trail: as the ECR operations that they are.

Names: ECR user guide, "Logging Amazon ECR actions with AWS CloudTrail".
"""

from collections.abc import Mapping

from openecr.domain.audit import ITEMS_MAX, clean
from openecr.domain.decisions import AuditedCall
from openecr.domain.errors import DomainError, ManifestNotFound
from openecr.web.oci.call import Query

_SOURCE = "ecr.amazonaws.com"


def _read(name: str, reference: str = "") -> AuditedCall:
    return AuditedCall(source=_SOURCE, name=name, is_read_only=True, reference=reference)


def _write(name: str, reference: str = "", *, commits: bool) -> AuditedCall:
    return AuditedCall(source=_SOURCE, name=name, is_read_only=False, commits=commits, reference=reference)


BATCH_GET_IMAGE = _read("BatchGetImage", "imageId")
GET_LAYER = _read("GetDownloadUrlForLayer", "layerDigest")
CHECK_LAYER = _read("BatchCheckLayerAvailability", "layerDigest")
LIST_IMAGES = _read("ListImages")
LIST_REFERRERS = _read("ListImageReferrers", "subjectDigest")
DESCRIBE_REPOSITORIES = _read("DescribeRepositories")
UPLOAD_STATUS = _read("UploadLayerPart", "uploadId")
"""To ask how far an upload has come is no operation of ECR's; it goes by the one whose permission it takes."""

PUT_IMAGE = _write("PutImage", "imageId", commits=True)
DELETE_IMAGE = _write("BatchDeleteImage", "imageId", commits=True)
DELETE_LAYER = _write("BatchDeleteImage", "layerDigest", commits=True)
MOUNT_LAYER = _write("MountLayer", commits=True)
INITIATE_UPLOAD = _write("InitiateLayerUpload", commits=False)
UPLOAD_PART = _write("UploadLayerPart", "uploadId", commits=False)
COMPLETE_UPLOAD = _write("CompleteLayerUpload", "uploadId", commits=False)
UPLOAD_CANCELLED = _write("UploadLayerPart", "uploadId", commits=False)
UPLOAD_AT_ONCE = _write("CompleteLayerUpload", commits=False)

NO_PARAMETERS: Mapping[str, object] = {}

_KEPT = {"mount": "layerDigest", "digest": "layerDigest", "from": "sourceRepositoryName"}


def kept_parameters(query: Query) -> Mapping[str, object]:
    """Return what the trail keeps of a query, by the names of the AWS operations' parameters."""
    kept: dict[str, object] = {_KEPT[name]: clean(query[name][0]) for name in _KEPT.keys() & query.keys()}
    if "tag" in query:
        kept["imageTags"] = [clean(tag) for tag in query["tag"][:ITEMS_MAX]]
    return kept


def error_code(error: Exception | None, told: str | None) -> str | None:
    """Return what ECR's API would call an error, or `told` for what only this protocol knows."""
    if isinstance(error, ManifestNotFound):
        return "ImageNotFoundException"
    return f"{type(error).__name__}Exception" if isinstance(error, DomainError) else told
