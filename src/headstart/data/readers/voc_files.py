"""Which xml file belongs to which image, and which split both are in."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from xml.etree.ElementTree import Element

from headstart import limits
from headstart.config.schema import VocConfig
from headstart.data import splits
from headstart.data.policy import Policy
from headstart.data.readers import formats, layout
from headstart.data.readers.inside import Fence
from headstart.data.readers.layout import Key, Tails, relative_name
from headstart.data.readers.raw import Malformed
from headstart.data.readers.xml_files import load
from headstart.errors import UserError

LAYOUTS = (
    "JPEGImages/ + Annotations/ (+ ImageSets/Main/*.txt), images/ + annots/, images/<split>/ + annotations/<split>/, "
    "<split>/images/ + <split>/annotations/, or xml files beside the images"
)


class VocFiles:
    """The images and xml files below a folder, and the splits they form."""

    def __init__(self, fence: Fence, policy: Policy) -> None:
        self.root, self.policy = fence.root, policy
        root = fence.root
        paths = layout.files(root, fence)
        self.xml = {layout.key(path, root): path for path in paths if path.suffix.lower() == ".xml"}
        self.images = self._images([path for path in paths if layout.is_image(path)])
        self._pair_by_case()
        self.listed: dict[Key, str] = {}
        """Where what is not there is listed."""
        if not any(key in self.images for key in self.xml):
            policy.check()  # why there is none
            raise UserError(
                f"dataset.root={root}: no image with an xml file of the same name ({len(self.xml)} xml files found). "
                f"Looked for {LAYOUTS}.{layout.packed(paths)}{formats.hint(paths, VocConfig)}"
                f"{layout.leading_out(fence)}"
            )
        self.splits = self._lists(paths) or self._folders()

    def labelled(self, split: str) -> bool:
        return any(key in self.xml and key in self.images for key in self.splits[split])

    def keys_of(self, chosen: splits.Chosen) -> dict[str, list[Key]]:
        """Our name of a split -> what is in it; without those that have to be drawn."""
        names = {"val": chosen.val, "test": chosen.test}
        keys = {ours: self.splits[name] for ours, name in names.items() if name is not None}
        elsewhere = {key for part in keys.values() for key in part}
        everything = [key for key in self._everything() if key not in elsewhere]
        return {"train": everything if chosen.train == splits.ALL else self.splits[chosen.train], **keys}

    def _images(self, paths: list[Path]) -> dict[Key, Path]:
        found: dict[Key, list[Path]] = defaultdict(list)
        for path in paths:
            key = layout.key(path, self.root)
            whole: Key = (*key[:-1], path.name)
            found[whole if whole in self.xml else key].append(path)
        used = {key: self._one_of(key, some) if key in self.xml else some[-1] for key, some in found.items()}
        self.ambiguous = {key for key, path in used.items() if path is None}
        self.xml = {key: path for key, path in self.xml.items() if key not in self.ambiguous}
        return {key: path for key, path in used.items() if path is not None}

    def _one_of(self, key: Key, pictures: list[Path]) -> Path | None:
        """Of several pictures that an xml file may belong to the one that it names; None where it names none."""
        if len(pictures) == 1:
            return pictures[0]
        xml, names = relative_name(self.xml[key], self.root), [relative_name(path, self.root) for path in pictures]
        try:
            top = load(self.xml[key], limits.LABEL_BYTES, "the xml file of one picture")
            said = named_by(top)
        except Malformed:
            said = ""
        fits = [path for path in pictures if path.name == said]
        if len(fits) != 1:
            self.policy.report("ambiguous_image", f"{xml} fits {' and '.join(names)}, and names neither", names[0])
            return None
        used = relative_name(fits[0], self.root)
        for spare in (name for name in names if name != used):
            self.policy.report("same_name", f"{spare} beside {used}, which {xml} names", spare)
        return fits[0]

    def _pair_by_case(self) -> None:
        alone = (key for key in self.images if key not in self.xml)
        whole: dict[Key, Key] = {
            (*key[:-1], path.name): key for key, path in self.images.items() if key not in self.xml
        }
        lost = [key for key in self.xml if key not in self.images]
        pairs = layout.pair_by_case(lost, alone)
        pairs |= {xml: whole[name] for xml, name in layout.pair_by_case(lost, whole).items()}
        for xml, image in pairs.items():
            self.xml[image] = self.xml.pop(xml)
            names = [relative_name(path, self.root) for path in (self.xml[image], self.images[image])]
            self.policy.report("other_case", " for ".join(names), names[1])

    def _everything(self) -> list[Key]:
        """Annotations, and images in folders where there are annotations: others hold masks, icons and the like."""
        annotated = {key[:-1] for key in self.xml}
        return sorted({*self.xml, *(key for key in self.images if key[:-1] in annotated)})

    def _lists(self, paths: list[Path]) -> dict[str, list[Key]]:
        """ImageSets/Main/<split>.txt, or <split>.txt beside the folders; else lists of single classes, together."""
        lists = [path for path in paths if path.suffix.lower() == ".txt" and _split_of(path) in splits.NAMES]
        sets = [path for path in lists if _in_image_sets(path)]
        beside = [path for path in lists if path.parent == self.root]
        whole = [[path for path in some if path.stem.lower() in splits.NAMES] for some in (sets, beside)]
        return next((found for some in (*whole, sets) if (found := self._listed_in(some))), {})

    def _listed_in(self, lists: list[Path]) -> dict[str, list[Key]]:
        found: dict[str, list[Key]] = defaultdict(list)
        tails: Tails[Key] = Tails(((*key[:-1], layout.stem(key[-1])), key) for key in sorted({*self.images, *self.xml}))
        for path in lists:
            base = layout.key((path.parents[2] if _in_image_sets(path) else path.parent) / "any", self.root)[:-1]
            where = relative_name(path, self.root)
            listed = [self._listed(base, line, tails, f"{where}:{number}") for number, line in layout.read_lines(path)]
            keys = [key for key in listed if key is not None and key not in self.ambiguous]
            if _in_image_sets(path) or any(key in self.images or key in self.xml for key in keys):
                earlier = {*found[_split_of(path)]}  # a picture is in the lists of several classes
                found[_split_of(path)] += [key for key in keys if key not in earlier]
        return {name: keys for name, keys in found.items() if keys}

    def _listed(self, base: Key, line: str, tails: Tails[Key], where: str) -> Key | None:
        """A line is a name, perhaps with blanks in it, and perhaps with a flag (-1, 0, 1) behind it.

        One that is nowhere below `base` may be the end of a path elsewhere. None where it may be that of two.
        """
        for text in dict.fromkeys((line, line.split()[0])):
            for key in ((*base, layout.stem(text)), (*base, text)):
                if key in self.images or key in self.xml:
                    return key
            fits = tails.find(layout.stem(text))
            if len(fits) > 1:
                shown = " and ".join("/".join(key) for key in fits[:2])
                self.policy.report("ambiguous_image", f"{where}: {text!r} fits {len(fits)} files, such as {shown}")
                return None
            if fits:
                return fits[0]
        flag = line.split()[-1] in ("-1", "0", "1") and len(line.split()) == 2
        key = (*base, layout.stem(line.split()[0] if flag else line))
        self.listed.setdefault(key, f"{where}: {line}")
        return key

    def _folders(self) -> dict[str, list[Key]]:
        """A split in which nothing is annotated is one nevertheless."""
        found: dict[str, list[Key]] = defaultdict(list)
        for keys in (self._everything(), sorted(self.images)):
            known = {*found}
            for key in keys:
                split = layout.split_of(key)
                if split is not None and split not in known:
                    found[split].append(key)
        return found


def named_by(annotation: Element) -> str:
    """The picture's name as the xml has it, without a path, which is of another machine; empty where it has none."""
    return (annotation.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]


def _split_of(path: Path) -> str:
    """Of a list, by its name: `train`, or `cat_train` for one class."""
    return path.stem.lower().rpartition("_")[2]


def _in_image_sets(path: Path) -> bool:
    return [part.lower() for part in path.parts[-3:-1]] == ["imagesets", "main"]
