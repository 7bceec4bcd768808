"""Codes of the edge runtime."""

from __future__ import annotations

from trimtab_kernel.problems import Code

CODES: tuple[Code, ...] = (
    Code(
        "E201",
        "desired document too large",
        "A desired document travels in a ConfigMap, which holds at most 1 MiB; a larger one is not ours.",
        "Split the device group, or find out who else writes this file.",
    ),
    Code(
        "E202",
        "desired document is not JSON",
        "The agent obeys canonical JSON in UTF-8 without floats, as the renderer writes it.",
        "Render the group again; do not edit the document by hand.",
    ),
    Code(
        "E203",
        "field of the desired document refused",
        "An unknown or malformed field could change what a device runs, so the whole document is refused and the device keeps what it has.",
        "Render the group again with the Trimtab version that the devices run.",
    ),
    Code(
        "E101",
        "another agent uses this state directory",
        "Two agents on one device would undo each other's work.",
        "End the other agent, or give each its own --state and --model-repository.",
    ),
    Code(
        "E102",
        "directory cannot be used",
        "The agent and the server need their directories; guessing another place could hide a wrong mount.",
        "Create the directory or correct the option that the message names.",
    ),
    Code(
        "E103",
        "certificate, key or client authorities cannot be used",
        "A server that was told to speak TLS never falls back to speaking in the clear, and never guesses which key belongs to a certificate.",
        "Correct the file that the message names: PEM, key and certificate of one pair, the key without a passphrase.",
    ),
    Code(
        "E301",
        "digest of an artifact differs",
        "The bytes that arrived are not the bytes that Git names: a broken mirror, a broken link or an attack. They are never used.",
        "Publish the right bytes under the digest, or release a version whose digest is right; the device tries again later by itself.",
    ),
    Code(
        "E302",
        "size of an artifact differs",
        "The source sent more bytes than the desired document promises, or announced another size. Reading on could fill the disk.",
        "Correct the size in the Model or the bytes at the source; the device tries again later by itself.",
    ),
    Code(
        "E303",
        "artifact too large for this device",
        "The artifact is beyond the agent's limit, so that one wrong file cannot fill a device.",
        "Raise --max-artifact-bytes, or publish a smaller variant.",
    ),
    Code(
        "E401",
        "model description unreadable",
        "model.yaml beside a model says what is watched on the device; a server that guessed would count the wrong thing.",
        "Correct the file: the message names the field. The agent writes it anew on its next start.",
    ),
    Code(
        "E402",
        "model file does not load",
        "onnxruntime refused the file, or its first run on zeros failed. A version that does not load never replaces one that answers.",
        "Load the file with onnxruntime on the same device class, and release a corrected version.",
    ),
    Code(
        "E403",
        "alignment does not fit the model",
        "The declared attribute or outcome is not an input column or an output of this file, so its fairness could not be watched.",
        "Correct spec.alignment of the Model, or release a version that has these tensors.",
    ),
    Code(
        "E404",
        "model file is not the one that was activated",
        "The bytes beside active.json have another digest than it names; the disk was changed behind the agent.",
        "Start the agent: it verifies what is there and fetches it again.",
    ),
    Code(
        "E405",
        "active.json unreadable",
        "The file says which version answers; a server that guessed could serve one that was rolled back.",
        'Start the agent: it writes the file anew. Without an agent, write {"version": ..., "digest": ...} or remove the file.',
    ),
    Code(
        "E406",
        "model file missing",
        "active.json names a version that is not in the model repository.",
        "Start the agent: it fetches the version again, or goes back to the last known good one.",
    ),
    Code(
        "E407",
        "declared guard does not fit the model",
        "A range or a boundary in model.yaml names a tensor or a column that this file does not have, so nothing would be checked.",
        "Correct guards in model.yaml, or release a version that has these tensors.",
    ),
    Code(
        "E408",
        "model does not fit the memory that is left",
        "Loading it would take more than the process may have, and the kernel would then kill what answers now. It is tried again.",
        "Raise the memory limit of the server, release a smaller variant, or unload another model.",
    ),
    Code(
        "E501",
        "alignment evidence unreadable",
        "Evidence of many devices is added up, so one malformed piece would spoil all of it; it is refused as a whole.",
        "Find the device that sent it and its Trimtab version; the message names the field.",
    ),
)
