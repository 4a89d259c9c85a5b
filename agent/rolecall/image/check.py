"""`rolecall image check`: may this be copied to many machines, and will they be what it says? Reads only.

`image.traces` has what must not be there; here is what must. Only what has one right answer is mended.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from rolecall.errors import ConfigFault, Fault, HostFault
from rolecall.fleet.assignment import Assignment
from rolecall.fleet.schema import parse_fleet
from rolecall.forms.mistakes import Mistakes
from rolecall.host import attachments, files
from rolecall.host.roles import read_role, roles_folder
from rolecall.host.units import service_manager
from rolecall.image.root import Finding, Image
from rolecall.image.traces import traces
from rolecall.node.node import BAKE, BASELINE, with_role
from rolecall.render.generation import Generation
from rolecall.render.rendering import render
from rolecall.render.settings import RenderPaths, RenderSettings
from rolecall.settings import Settings, load_settings
from rolecall.trust import signatures
from rolecall.trust.envelope import NAMESPACE, unseal

T = TypeVar("T")
AGENT_UNITS = ("rolecall-boot.service", "rolecall-refresh.timer", "rolecall-drain.service", "rolecall-ready.target")
_UNIT_FOLDERS = ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
_PROGRAM_FOLDERS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")


def examine(root: Path, config: Path, *, allow_unsigned: bool = False, machine: bool = False) -> list[Finding]:
    """Everything that is wrong. `config` is a path within the root. A `machine` may have a past, unlike an image.

    Raises HostFault if there is no such folder, or not all of it can be read.
    """
    if not root.is_dir():
        raise HostFault(f"there is no folder {root}", "--root names the folder that has the image's files")
    image, findings = Image(root.absolute()), list[Finding]()
    if settings := attempt(findings, "settings", partial(load_settings, image.locate(str(config)))):
        settings = with_role(settings) if machine else settings
        image = Image(image.root, settings)
    with files.naming(image.root, "read all of"):
        if not machine:
            findings += traces(image)
        if settings:
            findings += check_trust(image, settings, allow_unsigned=allow_unsigned)
            findings += check_seed(image, settings)
            generation = attempt(findings, "role", partial(bare_generation, image, settings))
            findings += _check_role(image, settings, generation or Generation("", "", ""))
            findings += _check_permissions(image, settings, config)
    return findings


def mend(root: Path, config: Path, findings: list[Finding]) -> list[Finding]:
    """Do what is safe, and return it. Raises HostFault on a machine that is no image: it lives on what is removed."""
    if root.resolve() == Path("/"):
        hint = "--root DIR names an image"
        if files.read_link(Path("/var/lib/rolecall/current")):
            raise HostFault(
                "this machine is a node, not an image: --fix would remove what it lives on", "--root DIR names an image"
            )
        if not config.exists():
            raise HostFault(f"this machine has no {config}: no image is being baked here", hint)
    mended = []
    for finding in findings:
        if finding.fix:
            finding.fix()
            mended.append(finding)
    return mended


def attempt(findings: list[Finding], name: str, question: Callable[[], T]) -> T | None:
    """The answer; or None, and findings that say why there is none."""
    try:
        return question()
    except Mistakes as fault:
        source = fault.message.partition(" has ")[0]
        findings += [Finding(name, f"{source}:{mistake}", f"correct {source}") for mistake in fault.mistakes]
    except Fault as fault:
        findings.append(Finding(name, fault.message, fault.hint))
    return None


def bare_generation(image: Image, settings: Settings) -> Generation:
    """The role without a product: its attachments, validators and units are the same."""
    if settings.role == BASELINE:
        return Generation("", "", "")
    paths = settings.paths
    templates = image.locate(paths.templates or "/usr/share/rolecall/templates")
    # An image without roles of its own, such as a root folder that is still being built: those of this installation.
    folder = roles_folder(str(templates) if paths.templates or templates.is_dir() else None)
    render_settings = RenderSettings(
        platform=settings.platform,
        paths=RenderPaths(paths.state, paths.run, paths.root),
        accounts=settings.accounts != "none",
        names=settings.names,
    )
    assignment = Assignment("image", "image", settings.role, "none", "127.0.0.1", ())
    role = render(read_role(folder, settings.role), assignment, render_settings)
    drop_ins = service_manager(settings.service_manager, settings.run).drop_ins(role, settings.state)
    return replace(role, attachments=role.attachments + drop_ins)


def check_trust(image: Image, settings: Settings, *, allow_unsigned: bool) -> Iterator[Finding]:
    """Whose documents a machine of this image would believe: somebody's, and not everybody's."""
    trust = settings.trust
    if trust.unsigned and not allow_unsigned:
        risk = "trust.unsigned: whoever can write to the store is root on every machine of this image"
        yield Finding("unsigned", risk, "set trust.signers; or, if it is meant, say so with --allow-unsigned")
    for path in filter(None, (trust.signers, trust.revoked)):
        findings = list[Finding]()
        keys = attempt(findings, "signers", partial(signatures.keys_in, str(image.locate(path)), datetime.now(UTC)))
        yield from findings
        if path == trust.signers and keys is not None and not keys:
            problem = f"{image.locate(path)} has no key that is valid now: no document would be believed"
            yield Finding("signers", problem, 'a line each: NAME namespaces="rolecall-fleet" KEY')


def check_seed(image: Image, settings: Settings) -> Iterator[Finding]:
    """Whether a machine that boots now, while no store answers, would believe the seed."""
    if settings.paths.seed:
        findings = list[Finding]()
        attempt(findings, "seed", partial(_judge_seed, image, settings, image.locate(settings.paths.seed)))
        yield from findings


def _judge_seed(image: Image, settings: Settings, path: Path) -> None:
    """Raises ConfigFault unless a machine that boots now would believe it."""
    trust, now, hint = settings.trust, datetime.now(UTC), "bake the store's current fleet.json"
    raw = files.read(path)
    if raw is None:
        raise ConfigFault(f"the seed {path} does not exist", f"{hint}, or remove paths.seed from agent.toml")
    opened = unseal(raw, str(path))
    if trust.signers and not opened.signature:
        raise ConfigFault(f"the seed {path} is not signed, and this image accepts signed documents only", hint)
    if trust.signers:
        try:
            signatures.signer_of(
                opened.payload,
                opened.signature,
                signers=str(image.locate(trust.signers)),
                revoked=str(image.locate(trust.revoked)) if trust.revoked else None,
                namespace=NAMESPACE,
                when=now,
            )
        except ConfigFault as fault:
            raise ConfigFault(f"the seed {path}: {fault.message}", fault.hint) from None
    fleet = parse_fleet(opened.payload, str(path))
    if trust.fleet and fleet.fleet != trust.fleet:
        raise ConfigFault(f"the seed {path} is of the fleet {fleet.fleet!r}, this image is of {trust.fleet!r}", hint)
    if fleet.not_after < now:
        raise ConfigFault(f"the seed {path} expired on {fleet.not_after:%Y-%m-%d %H:%M} UTC", hint)


def _check_role(image: Image, settings: Settings, role: Generation) -> Iterator[Finding]:
    root = "" if image.root == Path("/") else str(image.root)
    attached_root = f"{root}{settings.paths.root}"
    attach = partial(attachments.attach, role, settings.state, attached_root)
    for problem in attachments.problems(role, settings.state, attached_root):
        remedy = f"rolecall image check{image.flag} --fix" if root else "rolecall image attach"
        yield Finding("attachment", problem, remedy, fix=attach)
    for program, purpose in _programs(settings, role).items():
        if not _has(image, program, _PROGRAM_FOLDERS):
            remedy = "install the package that brings it; image-build/roles lists the role's packages"
            yield Finding("program", f"{program} is not installed: {purpose}", remedy)
    if settings.service_manager == "systemd":
        for service in (*AGENT_UNITS, *(unit.service for unit in role.units)):
            yield from _check_unit(image, service)


def _programs(settings: Settings, role: Generation) -> dict[str, str]:
    """The programs that the agent starts on this image, and what for."""
    programs = {"rolecall": "the agent"}
    programs |= {validator.argv[0]: f"validator {validator.name}" for validator in role.validators}
    if settings.role == BASELINE:
        programs[BAKE] = "installs the role at the first boot"
    if settings.trust.signers:
        programs["ssh-keygen"] = "verifies the fleet document"
    if settings.accounts == "systemd-sysusers":
        programs["systemd-sysusers"] = "makes accounts"
    return programs


def _has(image: Image, name: str, folders: tuple[str, ...]) -> bool:
    paths = [name] if name.startswith("/") else [f"{folder}/{name}" for folder in folders]
    return any(image.real(image.locate(path)) for path in paths)


def _check_unit(image: Image, unit: str) -> Iterator[Finding]:
    wants = " ".join(f"{folder}/*.wants/{unit} {folder}/*.requires/{unit}" for folder in _UNIT_FOLDERS)
    if files.read_link(image.locate(f"etc/systemd/system/{unit}")) == "/dev/null":
        yield Finding("unit", f"{unit} is masked", f"systemctl{image.flag} unmask {unit}")
    elif not _has(image, unit, _UNIT_FOLDERS):
        yield Finding("unit", f"{unit} is not installed", "install the package that brings it")
    elif not any(image.find(wants)):
        yield Finding("unit", f"{unit} is not enabled: no boot would start it", f"systemctl{image.flag} enable {unit}")


def _check_permissions(image: Image, settings: Settings, config: Path) -> Iterator[Finding]:
    """Whoever may write any of this can become root: nobody but root may."""
    trust, paths = settings.trust, settings.paths
    names = ["/etc/rolecall", "/usr/share/rolecall", "/usr/lib/rolecall", str(config)]
    names += filter(None, (trust.signers, trust.revoked, paths.seed, paths.templates, paths.state))
    tops = [image.locate(name) for name in names]
    existing = {path for top in tops for path in (top, *top.glob("**/*")) if path.exists() and not path.is_symlink()}
    if writable := sorted(path for path in existing if path.stat().st_mode & 0o022):
        rest = f" and {len(writable) - 1} more" if len(writable) > 1 else ""
        risk = f"{image.name(writable[0])}{rest}: users other than root can write to it, and so become root"
        remedy = f"see what is in it, then chmod -R go-w {' '.join(map(str, writable[:5]))}"
        yield Finding("permissions", risk, remedy, tuple(map(image.name, writable)))
