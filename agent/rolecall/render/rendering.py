"""Role and assignment in, generation out: a pure function; equal input gives an equal generation.

In a template every value has to be written through the quoting of its format (`{{ host | apache }}`): an expression
whose result was not quoted is an error, so that none can be forgotten.
"""

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from rolecall.errors import ConfigFault
from rolecall.fleet.assignment import AssignedProduct, Assignment
from rolecall.forms.mistakes import Mistake, Mistakes, suggest
from rolecall.forms.quoting import FORMATS
from rolecall.render.contents import Attachment, DirectCommands, Unit, Validator, deployed_release
from rolecall.render.databases import replication
from rolecall.render.evaluation import Evaluator, Scope
from rolecall.render.generation import ITSELF, Generation, ManagedFile, clashes, sealed, secret_token, tag_token
from rolecall.render.parameters import parameter_values
from rolecall.render.platforms import names_on, platforms
from rolecall.render.role import AttachmentSpec, DirectSpec, FileSpec, Role, UnitSpec, ValidatorSpec
from rolecall.render.selftests import checks
from rolecall.render.settings import RenderSettings
from rolecall.render.templating import Environments, Quoted, environment

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PATH = re.compile(r"(?!.*(?:\.\.|//|/\./|/\.?$))[A-Za-z0-9_][A-Za-z0-9@._/-]*")


def render(
    role: Role,
    assignment: Assignment,
    settings: RenderSettings,
    fingerprints: Mapping[str, str] | None = None,
    release_templates: Mapping[str, Mapping[str, str]] | None = None,
) -> Generation:
    """What the node is to be. Raises ConfigFault with every template that failed.

    `fingerprints` tell secrets' values apart without telling them; `release_templates` are the templates that
    products bring along: product → name → text.
    """
    return Renderer(role, assignment, settings, release_templates or {}).generation(fingerprints or {})


class Renderer:
    """One rendering. `environments` makes the environments of its templates."""

    def __init__(
        self,
        role: Role,
        assignment: Assignment,
        settings: RenderSettings,
        release_templates: Mapping[str, Mapping[str, str]],
        environments: Environments = environment,
    ) -> None:
        self.role = role
        self.assignment = assignment
        self.settings = settings
        self.release_templates = release_templates
        self.sandbox = environments(role, foreign=True)
        self.context: dict[str, Any] = {
            "assignment": assignment,
            "products": assignment.products,
            "caches": assignment.caches,
            "databases": assignment.databases,
            "fleet": assignment.everything,
            "machine": settings.hardware,
            "paths": settings.paths,
            "accounts": settings.accounts,
            "tag": lambda unit: Quoted(tag_token(unit)),
            "generation": Quoted(tag_token(ITSELF)),
        }
        self.evaluator = Evaluator(role, self.context, environments)
        self.context["names"] = self._names()
        # An attachment is laid when the image is baked, before there is a document, and a run only compares it.
        self.attachment_context = dict(self.context)
        roles = assignment.everything.roles if assignment.everything else {}
        self.context["parameters"] = parameter_values(role, roles)

    def generation(self, fingerprints: Mapping[str, str]) -> Generation:
        """What `render` returns."""
        table, assignment, mistakes = self.role.table, self.assignment, self.evaluator.mistakes
        units = self.units()
        unit_names = {unit.name for unit in units}
        specified = (file for spec in table.file for file in self.files_of(spec, unit_names))
        files = tuple(sorted(specified, key=lambda file: file.path))
        mistakes.extend(clashes([file.path for file in files]))
        accounts = table.accounts if self.settings.accounts else None
        generation = Generation(
            role=self.role.name,
            platform=self.settings.platform,
            server=assignment.server,
            accounts=accounts,
            folders=table.folders,
            files=files,
            releases=tuple(
                deployed_release(product, product.user if accounts else "") for product in assignment.products
            ),
            units=units,
            attachments=tuple(map(self._attachment, table.attachment)),
            validators=tuple(
                self._validator(spec, scope)
                for spec in table.validator
                for scope in self._scopes(spec.each)
                if self.evaluator.condition(spec.when, scope)
            ),
            checks=checks(self.evaluator, self._scopes),
            replication=replication(self.evaluator, self.assignment.databases),
            secrets={secret.key: fingerprints.get(secret.key, "") for secret in assignment.secrets},
        )
        if mistakes:
            raise Mistakes(f"the role {self.role.name!r}, rendered for {assignment.server!r},", mistakes)
        return sealed(generation)

    def _scopes(self, each: str | None) -> Iterator[Scope]:
        """What a part of role.toml is made for, and sees: once, or for each product, cache or database of this node."""
        match each:
            case "product":
                for product in self.assignment.products:
                    code = f"{self.settings.paths.state}/{product.release_folder}"
                    yield self.context | {"product": product, "code": code}
            case "cache":
                yield from (self.context | {"cache": cache} for cache in self.assignment.caches)
            case "database":
                yield from (self.context | {"database": database} for database in self.assignment.databases)
            case _:
                yield self.context

    def _names(self) -> dict[str, Any]:
        """The platform's names, with those of agent.toml over them. Raises ConfigFault for an unknown one."""
        table = self.role.table
        platform_names = names_on(table.platform, self.settings.platform)
        if platform_names is None:
            choices = platforms(table.platform)
            otherwise = f"set platform in agent.toml to one of: {', '.join(choices)}"
            raise ConfigFault(
                f"the role {self.role.name!r} has no platform {self.settings.platform!r}",
                suggest(self.settings.platform, choices, otherwise),
            )
        node_names = dict(self.settings.names or {})
        if unknown := sorted(node_names.keys() - platform_names.keys()):
            raise ConfigFault(
                f"[names] in agent.toml: the platform has no {', '.join(unknown)}",
                f"it has: {', '.join(sorted(platform_names))}; "
                f"the document's roles.{self.role.name} may have: {', '.join(sorted(table.parameter)) or 'nothing'}",
            )
        names = platform_names | node_names
        return {key: self.evaluator.text(value) if isinstance(value, str) else value for key, value in names.items()}

    def units(self) -> tuple[Unit, ...]:
        """The daemons, without the digests of what they read."""
        return tuple(self._unit(spec, scope) for spec in self.role.table.unit for scope in self._scopes(spec.each))

    def files_of(self, spec: FileSpec, units: AbstractSet[str]) -> Iterator[ManagedFile]:
        """The files that a part of role.toml stands for. `units`: the names of those that there are."""
        for scope in self._scopes(spec.each):
            if not self.evaluator.condition(spec.when, scope):
                continue
            text = self._release_file(spec, scope) if spec.release else self.evaluator.file(spec.source, scope)
            if text is not None:
                yield self._file(spec, text, scope, units)

    def _release_file(self, spec: FileSpec, scope: Scope) -> str | None:
        """The text of a file whose template comes with the product's release; None if the release has none."""
        product: AssignedProduct = scope["product"]
        template = self.release_templates.get(product.name, {}).get(spec.source)
        if template is None:
            return None
        # A product's template is shown that product alone: others have secrets.
        assignment = replace(self.assignment, products=(product,), caches=(), databases=(), everything=None)
        narrow = {
            **scope,
            "assignment": assignment,
            "products": assignment.products,
            "caches": (),
            "databases": (),
            "fleet": None,
        }
        source = f"{product.name}:{spec.source}"
        text = self.evaluator.rendered(source, lambda: self.sandbox.from_string(template).render(narrow))
        if _CONTROL.search(self._without_tokens(text, product)):
            path = (f"{self.role.name}/{source}",)
            self.evaluator.mistakes.append(Mistake(path, "writes control characters", "remove them"))
        return text

    def _without_tokens(self, text: str, product: AssignedProduct) -> str:
        """The text without the tokens that a product's template may write; others it could only have forged."""
        secrets = [secret_token(secret.key, form) for secret in product.secrets for form in FORMATS]
        tags = [tag_token(ITSELF), *(tag_token(unit.name) for unit in self.role.table.unit)]
        for token in (*secrets, *tags):
            text = text.replace(token, "")
        return text

    def _file(self, spec: FileSpec, text: str, scope: Scope, units: AbstractSet[str]) -> ManagedFile:
        mistakes, before = self.evaluator.mistakes, len(self.evaluator.mistakes)
        path = self.evaluator.text(spec.path, scope)
        readers = sorted(self.evaluator.texts(spec.units, scope))
        if len(mistakes) == before and not _PATH.fullmatch(path):
            mistakes.append(Mistake((spec.source,), f"{path!r} is not a path within a generation"))
        if len(mistakes) == before:
            mistakes.extend(
                Mistake((spec.source,), f"there is no unit {unit!r}", suggest(unit, units, "add [[unit]]"))
                for unit in readers
                if unit not in units
            )
        owner, group = self.evaluator.texts((spec.owner, spec.group), scope) if self.settings.accounts else ("", "")
        return ManagedFile(path, text, int(spec.mode, 8), owner, group, tuple(readers))

    def _attachment(self, spec: AttachmentSpec) -> Attachment:
        evaluator, scope = self.evaluator, self.attachment_context
        return Attachment(
            path=evaluator.text(spec.path, scope),
            link=evaluator.optional_text(spec.link, scope),
            content=evaluator.quoted_text(spec.content, scope),
            to=evaluator.optional_text(spec.to, scope),
        )

    def _validator(self, spec: ValidatorSpec, scope: Scope) -> Validator:
        argv = self.evaluator.texts(spec.argv, scope)
        return Validator(self.evaluator.text(spec.name, scope), argv, spec.timeout, spec.unit)

    def _unit(self, spec: UnitSpec, scope: Scope) -> Unit:
        direct = self._direct(spec.direct, scope) if spec.direct else None
        name, service = self.evaluator.texts((spec.name, spec.service), scope)
        logs = self.evaluator.texts(spec.logs, scope)
        return Unit(name, service, spec.action, direct, instance=spec.each is not None, logs=logs)

    def _direct(self, spec: DirectSpec, scope: Scope) -> DirectCommands:
        pidfile, start = self.evaluator.text(spec.pidfile, scope), self.evaluator.texts(spec.start, scope)
        return DirectCommands(pidfile, start, spec.reload, spec.stop)
