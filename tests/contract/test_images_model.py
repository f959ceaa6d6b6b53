"""Any sequence of pushes, moves and deletions leaves what a few dictionaries say it must."""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from openecr.application.images import PutRules
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    DomainError,
    ImageAlreadyExists,
    ImageReferencedByManifestList,
    ImageTagAlreadyExists,
    LayersNotFound,
    ManifestNotFound,
    ReferencedImagesNotFound,
)
from openecr.domain.images import FailureCode, ImageId, TagStatus
from openecr.domain.pages import PageRequest
from openecr.domain.repositories import TagMutabilitySetting
from tests.contract.databases import make_sqlite_template, sqlite_databases
from tests.contract.galleries import IMMUTABLE, Gallery, digest, image_of, index_of

BLOBS = ("config", "layer", "other")
IMAGES = (image_of(), image_of(layers=["other"]), image_of(layers=["layer", "other"]))
INDEXES = (index_of(IMAGES[0]), index_of(IMAGES[1], IMAGES[2]))
CONTENTS = (*IMAGES, *INDEXES, index_of(INDEXES[0], IMAGES[1]))
LAYERS = {IMAGES[0]: {"layer"}, IMAGES[1]: {"other"}, IMAGES[2]: {"layer", "other"}}
CHILDREN = {
    INDEXES[0]: {IMAGES[0]},
    INDEXES[1]: {IMAGES[1], IMAGES[2]},
    CONTENTS[-1]: {INDEXES[0], IMAGES[1]},
}
TAGS = ("a", "b", "c")

contents = st.sampled_from(CONTENTS)
tags = st.sampled_from(TAGS)
identifiers = st.builds(ImageId, digest=st.none() | contents.map(digest), tag=st.none() | tags)


@pytest.fixture(scope="session", autouse=True)
def template(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Migrate once."""
    Machine.template = make_sqlite_template(tmp_path_factory.mktemp("model-template"))


class Machine(RuleBasedStateMachine):
    """The real thing on SQLite, beside a model: blobs, images and what each tag names."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        databases = self.runner.run(
            self.stack.enter_async_context(sqlite_databases(folder, Machine.template))
        )
        self.gallery = self.runner.run(Gallery(databases).open())
        self.blobs = {"config", "layer"}
        self.images: set[bytes] = set()
        self.tags: dict[str, bytes] = {}
        self.immutable = False

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    def parents(self, content: bytes) -> set[bytes]:
        return {parent for parent in self.images if content in CHILDREN.get(parent, ())}

    def tags_of(self, content: bytes) -> set[str]:
        return {tag for tag, named in self.tags.items() if named == content}

    def remove(self, content: bytes) -> None:
        self.images.discard(content)
        self.tags = {tag: named for tag, named in self.tags.items() if named != content}

    def refusal(self, content: bytes, chosen: set[str], rules: PutRules) -> type[DomainError] | None:
        """What the rules say of a push."""
        if content in LAYERS and not {"config", *LAYERS[content]} <= self.blobs:
            return LayersNotFound
        if not CHILDREN.get(content, set()) <= self.images:
            return ReferencedImagesNotFound
        if rules is PutRules.AWS and content in self.images and chosen <= self.tags_of(content):
            return ImageAlreadyExists
        if self.immutable and chosen & set(self.tags):
            return ImageTagAlreadyExists
        return None

    @initialize(immutable=st.booleans())
    def choose(self, *, immutable: bool) -> None:
        self.immutable = immutable
        self.runner.run(self.gallery.change(IMMUTABLE if immutable else TagMutabilitySetting()))

    @rule(name=st.sampled_from(BLOBS))
    def hold(self, name: str) -> None:
        self.runner.run(self.gallery.hold(name))
        self.blobs.add(name)

    @rule(name=st.sampled_from(BLOBS))
    def drop(self, name: str) -> None:
        needed = any({"config", *LAYERS[content]} & {name} for content in self.images if content in LAYERS)
        dropped = self.runner.run(self.gallery.drop(name))
        assert dropped == (name in self.blobs and not needed)
        if dropped:
            self.blobs.discard(name)

    @rule(content=contents, chosen=st.sets(tags, max_size=2), rules=st.sampled_from(PutRules))
    def push(self, content: bytes, chosen: set[str], rules: PutRules) -> None:
        expected = self.refusal(content, chosen, rules)
        push = self.gallery.push(content, *sorted(chosen), rules=rules)
        if expected is not None:
            with pytest.raises(expected):
                self.runner.run(push)
            return
        put = self.runner.run(push)
        self.images.add(content)
        self.tags |= dict.fromkeys(chosen, content)
        assert set(put.image.tags) == self.tags_of(content)

    @rule(tag=tags)
    def delete_tag(self, tag: str) -> None:
        try:
            self.runner.run(self.gallery.images.delete_tag(self.gallery.grant, tag))
        except ManifestNotFound:
            assert tag not in self.tags
        else:
            del self.tags[tag]

    @rule(content=contents)
    def delete_manifest(self, content: bytes) -> None:
        try:
            self.runner.run(self.gallery.images.delete_manifest(self.gallery.grant, Digest.of(content)))
        except ManifestNotFound:
            assert content not in self.images
        except ImageReferencedByManifestList:
            assert self.parents(content)
        else:
            assert content in self.images
            assert not self.parents(content)
            self.remove(content)

    @rule(image_id=identifiers)
    def delete_one_of_a_batch(self, image_id: ImageId) -> None:
        gone, failures = self.runner.run(self.gallery.images.batch_delete(self.gallery.grant, [image_id]))
        named = self.tags.get(image_id.tag or "")
        if image_id.tag is None:
            named = next((each for each in self.images if digest(each) == image_id.digest), None)
        if named is None or image_id.digest not in {None, digest(named)}:
            assert gone == []
            assert len(failures) == 1
            return
        own = self.tags_of(named)
        if image_id.tag is not None and len(own) > 1:
            assert gone == [ImageId(digest=digest(named), tag=image_id.tag)]
            del self.tags[image_id.tag]
        elif self.parents(named):
            assert [failure.code for failure in failures] == [FailureCode.IMAGE_REFERENCED_BY_MANIFEST_LIST]
        else:
            assert {each.tag or "" for each in gone} == (own or {""})
            self.remove(named)

    @rule()
    def delete_everything_named(self) -> None:
        asked = [ImageId(digest=digest(content)) for content in CONTENTS]
        _, failures = self.runner.run(self.gallery.images.batch_delete(self.gallery.grant, asked))
        assert {failure.code for failure in failures} <= {FailureCode.IMAGE_NOT_FOUND}
        self.images, self.tags = set(), {}

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        found = self.runner.run(self.gallery.everything())
        assert found == {digest(each): tuple(sorted(self.tags_of(each))) for each in self.images}

    @invariant()
    def every_list_agrees(self) -> None:
        listed: list[ImageId] = []
        after: str | None = None
        while True:
            page = self.runner.run(
                self.gallery.images.list_ids(
                    self.gallery.grant, TagStatus.ANY, PageRequest(limit=2, after=after)
                )
            )
            listed += page.items
            after = page.after
            if after is None:
                break
        expected = [
            ImageId(digest=digest(each), tag=tag)
            for each in sorted(self.images, key=digest)
            for tag in (*sorted(self.tags_of(each)),) or (None,)
        ]
        assert listed == expected


Machine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestImages = Machine.TestCase
