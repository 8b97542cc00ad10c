"""Bounds on a document, looked at before it is validated: validating is what a hostile one makes dear."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)
from strawberry.extensions import SchemaExtension

from forebay.api.graphql.errors import TOO_COSTLY, coded, request_error
from forebay.api.graphql.operation import Operation
from forebay.api.jobs.listing import DEFAULT_LIMIT, HIGHEST_LIMIT

MOST_TOKENS = 2000  # a parser's work; the usual introspection has 250
MOST_FIELDS = 500  # in the whole document: validating compares fields by pairs
MOST_ALIASES = 50
_ATTEMPTS = 5  # that a job is taken to have
# What a field costs beside its fields' own cost; any other costs 1.
_WEIGHTS = {"job": 10, "jobs": 10, "submit": 50, "cancel": 50, "result": 50, "__schema": 2000, "__type": 200}
_INTROSPECTION = frozenset({"__schema", "__type"})  # its depth is bounded by the library


class Measure(NamedTuple):
    """What a selection comes to, with its fragments put in."""

    cost: int = 0
    depth: int = 0


class Bounds(SchemaExtension):
    """Refuses a document that is too large, too deep or too costly, and gives each operation its own allowance."""

    def on_operation(self) -> Iterator[None]:
        context: Operation = self.execution_context.context
        self.execution_context.context = context.fresh()
        self.execution_context.parse_options["max_tokens"] = MOST_TOKENS
        yield

    def on_validate(self) -> Iterator[None]:
        document = self.execution_context.graphql_document
        if document is not None and (error := self._refusal(document)) is not None:
            self.execution_context.pre_execution_errors = [error]
        yield
        coded(self.execution_context.pre_execution_errors)

    def _refusal(self, document: DocumentNode) -> GraphQLError | None:
        settings = self.execution_context.context.api.system.settings
        ruler = Ruler(document, self.execution_context.variables or {})
        if ruler.fields > MOST_FIELDS or ruler.aliases > MOST_ALIASES:
            message = f"A document may name {MOST_FIELDS} fields and {MOST_ALIASES} aliases"
            return request_error(f"{message}, not {ruler.fields} and {ruler.aliases}", TOO_COSTLY)
        # The library would run the first one; `operation_name` does not tell that nobody asked for it.
        if ruler.is_ambiguous and not self.execution_context._provided_operation_name:
            return request_error("The document has several operations: name one of them as `operationName`")
        measure = ruler.measure(self.execution_context.operation_name)
        if measure.depth > settings.graphql_max_depth:
            message = f"The operation is {measure.depth} deep, more than {settings.graphql_max_depth}"
            return request_error(f"{message} (setting `graphql_max_depth`)", TOO_COSTLY)
        if measure.cost > settings.graphql_max_cost:
            message = f"The operation costs {measure.cost}, more than {settings.graphql_max_cost}"
            return request_error(f"{message} (setting `graphql_max_cost`); ask for fewer jobs or fields", TOO_COSTLY)
        return None


class Ruler:
    """Measures a document. Each fragment is measured once, however often it is spread."""

    def __init__(self, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._variables = variables
        self._fragments: dict[str, SelectionSetNode] = {}
        self._operations: list[OperationDefinitionNode] = []
        self._known: dict[str, Measure] = {}
        self.fields = 0
        self.aliases = 0
        for definition in document.definitions:
            if isinstance(definition, FragmentDefinitionNode):
                self._fragments.setdefault(definition.name.value, definition.selection_set)
                self._count(definition.selection_set)
            elif isinstance(definition, OperationDefinitionNode):
                self._operations.append(definition)
                self._count(definition.selection_set)

    @property
    def is_ambiguous(self) -> bool:
        """Whether the document alone does not say what is to be run. Source: GraphQL, GetOperation()."""
        return len(self._operations) > 1

    def measure(self, name: str | None) -> Measure:
        """Of the operation of that name, or of the only one."""
        for operation in self._operations:
            if name is None or (operation.name is not None and operation.name.value == name):
                return self._selected(operation.selection_set)
        return Measure()

    def _count(self, selected: SelectionSetNode) -> None:
        for node in selected.selections:
            if isinstance(node, FieldNode):
                self.fields += 1
                self.aliases += node.alias is not None
            inner = getattr(node, "selection_set", None)
            if inner is not None:
                self._count(inner)

    def _selected(self, selected: SelectionSetNode) -> Measure:
        cost = depth = 0
        for node in selected.selections:
            match node:
                case FieldNode():
                    one = self._field(node)
                case FragmentSpreadNode():
                    one = self._fragment(node.name.value)
                case _:
                    one = self._selected(node.selection_set)  # type: ignore[attr-defined]  # an inline fragment
            cost, depth = cost + one.cost, max(depth, one.depth)
        return Measure(cost, depth)

    def _field(self, node: FieldNode) -> Measure:
        name = node.name.value
        inner = Measure() if node.selection_set is None else self._selected(node.selection_set)
        cost = _WEIGHTS.get(name, 1) + inner.cost * self._times(node)
        return Measure(cost, 1 if name in _INTROSPECTION else 1 + inner.depth)

    def _fragment(self, name: str) -> Measure:
        if name not in self._known:
            self._known[name] = Measure()  # while it is measured: a circle is for validation to refuse
            if name in self._fragments:
                self._known[name] = self._selected(self._fragments[name])
        return self._known[name]

    def _times(self, node: FieldNode) -> int:
        """How often a field's own fields are resolved."""
        if node.name.value == "attempts":
            return _ATTEMPTS
        if node.name.value != "jobs":
            return 1
        for argument in node.arguments or ():
            if argument.name.value == "first":
                value: Any = getattr(argument.value, "value", None)
                if isinstance(argument.value, VariableNode):
                    value = self._variables.get(argument.value.name.value, HIGHEST_LIMIT)
                return min(_whole(value), HIGHEST_LIMIT)
        return DEFAULT_LIMIT


def _whole(value: Any) -> int:
    """A page's size as it was given, whatever that is; what is none is refused later."""
    try:
        return max(int(value), 1)
    except (TypeError, ValueError, OverflowError):
        return HIGHEST_LIMIT
