"""Explains an answer of a served model; runs in a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_edge.explanations.explainer import Explainer
from trimtab_edge.explanations.game import DeadlineError
from trimtab_edge.serving.failure import Fault, RequestError
from trimtab_edge.serving.oversight_codec import Explained
from trimtab_edge.serving.tensors import invalid
from trimtab_kernel.problems import printable, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trimtab_edge.serving.model import ServedModel
    from trimtab_edge.serving.oversight_codec import ExplainOptions
    from trimtab_edge.serving.session import Cancellation
    from trimtab_edge.serving.tensors import Array, InferRequest

_UNEXPLAINED = ("BYTES", "BF16")


def explain(
    served: ServedModel,
    request: InferRequest,
    options: ExplainOptions,
    reference: Mapping[str, Sequence[float]],
    stop: Cancellation,
) -> Explained:
    """One answer, explained within budget and until ``stop`` is asked for. Raises :class:`RequestError`."""
    feeds = served.prepare(request).feeds
    output = _output(served, options.output)
    answered = False

    def run(arrays: Mapping[str, Array]) -> Array:
        try:
            return served.session.run((output,), arrays, stop)[0][0]
        except RequestError as error:
            if error.fault is Fault.DEADLINE:
                raise DeadlineError from None
            if answered:
                raise invalid(
                    f"{error.message}, with a part of its input taken away; "
                    "name the inputs that may be changed by the parameter inputs"
                ) from None
            raise

    if any(spec.datatype == "BF16" for spec in served.signature.inputs):
        raise invalid("inputs of datatype BF16 are not explained")
    try:
        explainer = Explainer(
            served.signature.inputs, feeds, run, options.column, inputs=options.inputs, shapes=options.shapes
        )
        answered = True
        found = explainer.explain(
            budget=options.budget,
            seed=options.seed,
            most=options.parts,
            references=reference,
            expired=lambda: stop.is_asked,
        )
    except ValueError as error:
        raise invalid(printable(str(error), 300)) from None
    except DeadlineError:
        raise late(options) from None
    return Explained(
        model=served.name,
        version=served.version,
        id=request.id,
        output=output,
        column=explainer.column,
        explanations=found,
        reference={name: list(values) for name, values in reference.items()},
        complete=not explainer.cut_short and all(one.contributions.complete for one in found),
    )


def late(options: ExplainOptions) -> RequestError:
    """The deadline passed before there was anything to tell."""
    return RequestError(
        Fault.DEADLINE,
        f"nothing was found out within {options.deadline * 1000:.0f} ms; allow more by deadline_ms, or later",
    )


def _output(served: ServedModel, asked: str | None) -> str:
    """The output to explain: as asked for; else the declared score, the first of real numbers, the first of numbers."""
    outputs = served.signature.outputs
    if asked is not None:
        spec = served.signature.output(asked)
        if spec is None or spec.datatype in _UNEXPLAINED:
            names = ", ".join(quoted(other.name) for other in outputs if other.datatype not in _UNEXPLAINED)
            raise invalid(f"output {quoted(asked)}: expected one of {names}")
        return asked
    if served.oversight.score is not None:
        return served.oversight.score
    numbers = [spec.name for spec in outputs if spec.datatype not in _UNEXPLAINED]
    real = [spec.name for spec in outputs if spec.datatype.startswith("FP")]
    if not numbers:
        raise invalid("the model has no output of numbers")
    return (real or numbers)[0]
