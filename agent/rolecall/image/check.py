"""`rolecall image check`: may this be copied to many machines, and will they be what it says? Reads only.

`image_traces` has what must not be there; here is what must. Nothing is mended here but what has one right answer.
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
from rolecall.image.traces import Finding, Image, traces
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
    """Everything that is wrong. `config` is a path within the root. `machine`: it is one, and may have a past."""
    if not root.is_dir():
        raise HostFault(f"there is no folder {root}", "--root names the folder that has the image's files")
    image, found = Image(root.absolute()), list[Finding]()
    if settings := _asked(found, "settings", partial(load_settings, image.place(str(config)))):
        settings = with_role(settings) if machine else settings
        image = Image(image.root, settings)
    with files.naming(image.root, "read all of"):
        if not machine:
            found.extend(traces(image))
        if settings:
            found.extend(_trust(image, settings, allow_unsigned=allow_unsigned))
            found.extend(_seed(image, settings))
            generation = _asked(found, "role", partial(_generation, image, settings))
            found.extend(_role(image, settings, generation or Generation("", "", "")))
            found.extend(_doors(image, settings, config))
    return found


def mend(root: Path, config: Path, found: list[Finding]) -> list[Finding]:
    """Do what is safe, and return it. Raises HostFault on a machine that is no image: it lives on what is removed."""
    if root.resolve() == Path("/"):
        if files.read_link(Path("/var/lib/rolecall/current")):
            raise HostFault("this machine is a node, no image: --fix would take its life away", "--root DIR names one")
        if not config.exists():
            raise HostFault(f"this machine has no {config}: no image is being baked here", "--root DIR names one")
    mended = [one for one in found if one.fix]
    for one in mended:
        if one.fix:
            one.fix()
    return mended


def _asked(found: list[Finding], name: str, ask: Callable[[], T]) -> T | None:
    """The answer, or None and why there is none."""
    try:
        return ask()
    except Mistakes as wrong:
        source = wrong.message.partition(" has ")[0]
        found.extend(Finding(name, f"{source}:{one}", f"correct {source}") for one in wrong.mistakes)
    except Fault as fault:
        found.append(Finding(name, fault.message, fault.hint))
    return None


def _generation(image: Image, settings: Settings) -> Generation:
    """The role without a product: its attachments, validators and units are the same."""
    if settings.role == BASELINE:
        return Generation("", "", "")
    paths, installed = settings.paths, image.place("/usr/share/rolecall/templates")
    named = str(image.place(paths.templates)) if paths.templates else str(installed) if installed.is_dir() else None
    render_settings = RenderSettings(
        platform=settings.platform,
        paths=RenderPaths(paths.state, paths.run, paths.root),
        accounts=settings.accounts != "none",
        names=settings.names,
    )
    nobody = Assignment("image", "image", settings.role, "none", "127.0.0.1", ())
    role = render(read_role(roles_folder(named), settings.role), nobody, render_settings)
    return replace(
        role, attachments=role.attachments + service_manager(settings.service_manager).drop_ins(role, settings.state)
    )


def _trust(image: Image, settings: Settings, *, allow_unsigned: bool) -> Iterator[Finding]:
    trust = settings.trust
    if trust.unsigned and not allow_unsigned:
        what = "trust.unsigned: whoever can write to the store is root on every machine of this image"
        yield Finding("unsigned", what, "set trust.signers; or say that you mean it: --allow-unsigned")
    for path in filter(None, (trust.signers, trust.revoked)):
        found = list[Finding]()
        _asked(found, "signers", partial(signatures.keys_in, str(image.place(path))))
        yield from found


def _seed(image: Image, settings: Settings) -> Iterator[Finding]:
    if settings.paths.seed:
        found = list[Finding]()
        _asked(found, "seed", partial(_judged_seed, image, settings, image.place(settings.paths.seed)))
        yield from found


def _judged_seed(image: Image, settings: Settings, path: Path) -> None:
    """Would a machine that boots now believe it? Raises ConfigFault."""
    trust, now, hint = settings.trust, datetime.now(UTC), "bake today's fleet.json of the store"
    raw = files.read(path)
    if raw is None:
        raise ConfigFault(f"the seed {path} is not there", f"{hint}, or take paths.seed out of agent.toml")
    opened = unseal(raw, str(path))
    if trust.signers and not opened.signature:
        raise ConfigFault(f"the seed {path} is not signed, and this image believes signed documents only", hint)
    if trust.signers:
        signers, revoked = (str(image.place(one)) if one else None for one in (trust.signers, trust.revoked))
        try:
            signatures.signer_of(
                opened.payload, opened.signature, signers=str(signers), revoked=revoked, namespace=NAMESPACE, when=now
            )
        except ConfigFault as fault:
            raise ConfigFault(f"the seed {path}: {fault.message}", fault.hint) from None
    fleet = parse_fleet(opened.payload, str(path))
    if trust.fleet and fleet.fleet != trust.fleet:
        raise ConfigFault(f"the seed {path} is of the fleet {fleet.fleet!r}, this image is of {trust.fleet!r}", hint)
    if fleet.not_after < now:
        raise ConfigFault(f"the seed {path} has expired on {fleet.not_after:%Y-%m-%d %H:%M} UTC", hint)


def _role(image: Image, settings: Settings, role: Generation) -> Iterator[Finding]:
    root = "" if image.root == Path("/") else str(image.root)
    here = f"{root}{settings.paths.root}"
    lay = partial(attachments.attach, role, settings.state, here)
    for problem in attachments.problems(role, settings.state, here):
        remedy = f"rolecall image check{image.flag} --fix" if root else "rolecall image attach"
        yield Finding("attachment", problem, remedy, fix=lay)
    wanted = [("rolecall", "the agent"), *((one.argv[0], f"validator {one.name}") for one in role.validators)]
    wanted += [(BAKE, "installs the role at the first boot")] if settings.role == BASELINE else []
    wanted += [("ssh-keygen", "verifies the fleet document")] if settings.trust.signers else []
    wanted += [("systemd-sysusers", "makes accounts")] if settings.accounts == "systemd-sysusers" else []
    for program, why in dict(wanted).items():
        if not _has(image, program, _PROGRAM_FOLDERS):
            remedy = "install the package that brings it; image-build/roles lists the role's packages"
            yield Finding("program", f"{program} is not installed: {why}", remedy)
    for unit in (*AGENT_UNITS, *(one.service for one in role.units)) if settings.service_manager == "systemd" else ():
        yield from _unit(image, unit)


def _has(image: Image, name: str, folders: tuple[str, ...]) -> bool:
    places = [name] if name.startswith("/") else [f"{folder}/{name}" for folder in folders]
    return any(image.real(image.place(one)) for one in places)


def _unit(image: Image, unit: str) -> Iterator[Finding]:
    if files.read_link(image.place(f"etc/systemd/system/{unit}")) == "/dev/null":
        yield Finding("unit", f"{unit} is masked", f"systemctl{image.flag} unmask {unit}")
    elif not _has(image, unit, _UNIT_FOLDERS):
        yield Finding("unit", f"{unit} is not there", "install the package that brings it")
    elif not any(image.find(" ".join(f"{at}/*.wants/{unit} {at}/*.requires/{unit}" for at in _UNIT_FOLDERS))):
        yield Finding("unit", f"{unit} is not enabled: no boot would start it", f"systemctl{image.flag} enable {unit}")


def _doors(image: Image, settings: Settings, config: Path) -> Iterator[Finding]:
    """What others than root may write, of all that makes somebody root."""
    trust, paths = settings.trust, settings.paths
    named = filter(None, (str(config), trust.signers, trust.revoked, paths.seed, paths.templates, paths.state))
    tops = [image.place(one) for one in ("/etc/rolecall", "/usr/share/rolecall", "/usr/lib/rolecall", *named)]
    every = {path for top in tops for path in (top, *top.glob("**/*")) if path.exists() and not path.is_symlink()}
    if found := sorted(path for path in every if path.stat().st_mode & 0o022):
        others = f" and {len(found) - 1} more" if len(found) > 1 else ""
        what = f"{image.name(found[0])}{others}: others than root may write it, and so be root"
        remedy = f"see what is in it, then chmod -R go-w {' '.join(map(str, found[:5]))}"
        yield Finding("permissions", what, remedy, tuple(map(image.name, found)))
