"""`headstart doctor`: a whole data set is read and every picture decoded; nothing is trained. Imports no torch."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from headstart.config.schema import DatasetConfig, DoctorConfig, FileDatasetConfig
from headstart.data import catalog
from headstart.data.info import describe
from headstart.data.policy import Policy
from headstart.data.refusals import check_boxes
from headstart.data.types import DetectionData
from headstart.doctor import report
from headstart.doctor.findings import Finding, in_order, of_classes, of_defects, of_unused, refused
from headstart.doctor.fix import write_clean
from headstart.doctor.look import examine
from headstart.doctor.show import fit, show
from headstart.errors import UserError
from headstart.say import SafeConsole, say


def doctor(config: DoctorConfig) -> None:
    """Prints what was found, writes doctor.json and, where asked, the clean copy.

    Exits with 1 where a finding is an error: something is lost, or the data set is refused.
    """
    findings, data = diagnose(config.dataset, config.enable_progress_bar)
    info = describe(data, config.dataset) if data else None
    out = Path(config.out or Path("outputs", "doctor", config.dataset.name)).expanduser()
    show(findings, info, fit(SafeConsole(highlight=False)))
    is_refused = report.status(findings) == "refused"
    fixed = None
    if config.fix and not is_refused and data is not None:
        fixed = write_clean(data, Path(config.fix).expanduser())
        say(f"Clean copy: headstart train dataset=coco_folder {shlex.quote(f'dataset.root={config.fix}')}")
    path = report.write(out, config.dataset, findings, info, fixed)
    say(f"All of it: {path}")
    if config.fix and fixed is None:
        say(f"fix={config.fix}: nothing was written, for a data set that is refused has no clean copy.")
    sys.exit(1 if any(finding.is_error for finding in findings) else 0)


def diagnose(dataset: DatasetConfig, progress: bool) -> tuple[list[Finding], DetectionData | None]:
    """(findings, worst first; the data without pictures that cannot be decoded, None where it cannot be read)."""
    on = dataset.on if isinstance(dataset, FileDatasetConfig) else None
    reading, decoding = Policy(on, refuses=False), Policy(on, refuses=False)
    try:
        data = catalog.read(dataset, 0, reading)
    except UserError as error:
        return in_order([*of_defects(reading.defects, reading), refused(error)]), None
    data = examine(data, decoding, progress)
    info = describe(data, dataset)
    defects = [*data.defects, *decoding.defects]
    found = [*of_defects(defects, reading), *of_unused(data.unused, defects), *of_classes(info)]
    try:
        check_boxes(info, dataset)
    except UserError as error:
        found.append(refused(error))
    return in_order(found), data
