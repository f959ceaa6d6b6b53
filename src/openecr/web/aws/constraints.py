"""Where a service checks its input otherwise than its published model says.

Two small tables, both about ECR. Some patterns show only in the service's error texts; and in batch calls a
malformed item fails alone (its entry of `failures`) instead of the whole call.
"""

from collections.abc import Mapping

import msgspec

from openecr.web.aws.shapes import RawShape

_IMAGE_PATTERNS = {
    "ImageTag": "[a-zA-Z0-9-_.]+",
    "ImageDigest": "[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+",
}
_PATTERNS: Mapping[str, Mapping[str, str]] = {
    "ecr": _IMAGE_PATTERNS,
    "ecr-public": _IMAGE_PATTERNS,
}

_IMAGE_IDS = frozenset({("imageIds", "*", "imageDigest"), ("imageIds", "*", "imageTag")})
_BATCH_CALLS = {
    "BatchGetImage": _IMAGE_IDS,
    "BatchDeleteImage": _IMAGE_IDS,
    "BatchCheckLayerAvailability": frozenset({("layerDigests", "*")}),
}
_LEFT_TO_ITEMS: Mapping[str, Mapping[str, frozenset[tuple[str, ...]]]] = {
    "ecr": _BATCH_CALLS,
    "ecr-public": _BATCH_CALLS,
}


def corrections(service: str, shapes: Mapping[str, RawShape]) -> dict[str, RawShape]:
    """Return the shapes of `service` whose constraints differ from the published ones, corrected."""
    return {
        name: msgspec.structs.replace(shapes[name], pattern=pattern)
        for name, pattern in _PATTERNS.get(service, {}).items()
        if name in shapes
    }


def left_to_items(service: str, operation: str) -> frozenset[tuple[str, ...]]:
    """Return paths of member names (`*` for an item of a list) that the operation judges item by item."""
    return _LEFT_TO_ITEMS.get(service, {}).get(operation, frozenset())
