"""What is written in role.toml and its templates, evaluated for one node. Mistakes are collected, not raised."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from rolecall.forms.mistakes import Mistake
from rolecall.render.role import Role
from rolecall.render.templating import TEMPLATE_ERRORS, Environments, environment, place_of

Scope = Mapping[str, Any]


class Evaluator:
    """Evaluates a role's texts.

    `context` is what all of them see; a text that belongs to one product, cache or database is given a wider scope.
    `mistakes` grows with each text that fails, so that a role's author sees all of them at once. `environments` makes
    the environments of its templates.
    """

    def __init__(self, role: Role, context: dict[str, Any], environments: Environments = environment) -> None:
        self.role = role
        self.context = context
        self.mistakes: list[Mistake] = []
        self._strict = environments(role)
        self._plain = environments(role, quoted=False)

    def condition(self, expression: str, scope: Scope) -> bool:
        """Whether a `when` holds; an empty one always does."""
        if not expression:
            return True
        evaluate = functools.partial(self._plain.compile_expression, expression, undefined_to_none=False)
        return bool(self._guarded("role.toml", lambda: bool(evaluate()(**scope)), expression))

    def text(self, template: str, scope: Scope | None = None) -> str:
        """A single value of role.toml."""
        compiled = functools.partial(self._plain.from_string, template)
        return str(self._guarded("role.toml", lambda: compiled().render(scope or self.context), template))

    def texts(self, templates: tuple[str, ...], scope: Scope | None = None) -> tuple[str, ...]:
        """Several values, such as the words of a command."""
        return tuple(self.text(template, scope) for template in templates)

    def number(self, template: str) -> float:
        """A single value that is a number; 0 where it is not, which is collected as a mistake."""
        compiled = functools.partial(self._plain.from_string, template)
        return float(self._guarded("role.toml", lambda: float(compiled().render(self.context)), template) or 0)

    def optional_text(self, template: str | None, scope: Scope) -> str | None:
        """A single value that may be absent."""
        return None if template is None else self.text(template, scope)

    def quoted_text(self, template: str | None, scope: Scope) -> str | None:
        """A value of role.toml that is a configuration file itself: what is written into it has to be quoted."""
        if template is None:
            return None
        return str(self._guarded("role.toml", lambda: self._strict.from_string(template).render(scope), template))

    def file(self, source: str, scope: Scope) -> str:
        """The text of a template beside role.toml."""
        return self.rendered(source, lambda: self._strict.get_template(source).render(scope))

    def rendered(self, source: str, render: Callable[[], str]) -> str:
        """What `render` returns; `source` is the template's name in messages."""
        return str(self._guarded(source, render))

    def _guarded(self, source: str, render: Callable[[], Any], value: str = "") -> Any:
        """Run a template; an error is collected, with the template's line or the value of role.toml."""
        try:
            return render()
        except TEMPLATE_ERRORS as error:
            place = source if value else place_of(error, source)
            message = (str(error) or type(error).__name__) + (f", in {value!r}" if value else "")
            self.mistakes.append(Mistake((f"{self.role.name}/{place}",), message))
            return ""
