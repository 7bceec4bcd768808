"""Codes of the plugins: A1 Argo CD's plugin protocol, A2 the fleet service, A3 artifacts, A4 the Flux controller, A6 comparing trees, A7 GitHub."""

from __future__ import annotations

from trimtab_kernel.problems import Code

CODES: tuple[Code, ...] = (
    # ---- A1: Argo CD's plugin protocol, and the archive of a repository
    Code(
        "A101",
        "plugin.yaml cannot be used",
        "Native and exec mode share one plugin.yaml; what the stock server would refuse in it is refused here as well.",
        "Write the field as the message says; plugins/argocd/plugin.yaml is a working example.",
    ),
    Code(
        "A102",
        "request breaks the plugin protocol",
        "A request is one message of metadata and then the parts of the archive, until the caller closes its side.",
        "Check that the caller is a repo-server of Argo CD, of a version that is supported.",
    ),
    Code(
        "A103",
        "archive is not what was announced",
        "The SHA-256 over the bytes that came differs from the one in the metadata, so they are not what the caller sent.",
        "Refresh the Application; if it stays, look for what changes bytes between repo-server and plugin.",
    ),
    Code(
        "A104",
        "archive has another size than was announced",
        "Bytes are missing, or there are more of them than the metadata says.",
        "Refresh the Application; a full disk of repo-server is the usual cause.",
    ),
    Code(
        "A105",
        "archive exceeds a limit",
        "Anybody who can push can fill a repository, so its size, its number of files and its ratio of packing are limited.",
        "Keep large files out of the repository, exclude them (plugin tar exclusions), or raise the limit that is named.",
    ),
    Code(
        "A106",
        "archive is not whole gzip",
        "The compressed stream is broken, ends early, or has something after its end; a part of a repository is never rendered.",
        "Refresh the Application; a full disk of repo-server is the usual cause.",
    ),
    Code(
        "A107",
        "archive is not a tar that can be trusted",
        "A header is malformed or the archive ends in the midst of an entry, so two readers might see two repositories.",
        "Check that the caller is a repo-server of Argo CD; it writes none such.",
    ),
    Code(
        "A108",
        "name in the archive refused",
        "A name that is absolute, climbs up, is no UTF-8, or can be written in two ways means another file to another reader.",
        "Rename the file in the repository.",
    ),
    Code(
        "A109",
        "kind of entry refused",
        "Hard links, devices, pipes and sparse files are not part of what a commit holds.",
        "Check that the caller is a repo-server of Argo CD; it packs files, folders and symbolic links only.",
    ),
    Code(
        "A110",
        "link leaves the repository",
        "A symbolic link to a place outside stands for content that the commit does not hold; nothing may lie behind a link either.",
        "Replace the link by the file itself.",
    ),
    Code(
        "A111",
        "entry is there twice",
        "Which of two entries of one name counts differs from reader to reader.",
        "Check that the caller is a repo-server of Argo CD; a commit cannot hold one name twice.",
    ),
    Code(
        "A112",
        "extended header refused",
        "Extended headers that repeat, contradict the entry, or are longer than any name serve to confuse readers.",
        "Check that the caller is a repo-server of Argo CD; it writes none such.",
    ),
    Code(
        "A113",
        "folder of the fleet not in the archive",
        "An empty fleet would remove every object of the Application.",
        "Correct spec.source.path of the Application; it is relative to the root of the repository and exact in case.",
    ),
    Code(
        "A114",
        "parameter refused",
        "The plugin takes the parameters group and price-book, each once and as a string; anything else would silently not hold.",
        "Correct spec.source.plugin.parameters of the Application, or what pins them in .argocd-source-<app>.yaml.",
    ),
    Code(
        "A115",
        "stopped before the deadline",
        "Later than this the caller would only see that the time is over; the message says what took it.",
        "Look at the slowest stage and file that are named; give repo-server more time, or make the repository smaller.",
    ),
    Code(
        "A116",
        "nothing to apply",
        "An empty answer with pruning would delete everything that the Application has.",
        "Check the path and the group; to retire a group on purpose, delete its Application.",
    ),
    Code(
        "A117",
        "socket is taken",
        "A live server listens at this name already; two of them would answer in turn.",
        "Stop the other server, or give this one another name in plugin.yaml.",
    ),
    Code(
        "A118",
        "answer is too large",
        "Argo CD takes answers up to 100 MiB.",
        "Split the device group.",
    ),
    Code(
        "A119",
        "failure inside the plugin",
        "The renderer failed in a way that it should not; the log of the plugin has the details, the message has none of them.",
        "Report it with the lines of the log; `trimtab render` on the same commit shows whether it is the plugin's.",
    ),
    Code(
        "A120",
        "socket cannot be made",
        "Its folder cannot be written, or the path is longer than the system allows (107 bytes).",
        "Mount the folder that the message names, writable for this user, or choose a shorter one.",
    ),
    # ---- A2: the fleet service
    Code(
        "A201",
        "request without the right token",
        "The list of device groups says where a company's devices are, and an ApplicationSet acts on it.",
        "Send 'Authorization: Bearer TOKEN' with the content of the file that --token-file names; Argo CD and flux-operator take it from a Secret.",
    ),
    Code(
        "A202",
        "request is no well-formed question",
        "A filter that is misunderstood would generate Applications for other groups than were meant.",
        "Send what docs/fleet-service.md describes: JSON of at most 64 KiB, filters as text, each known and given once.",
    ),
    Code(
        "A203",
        "no device group matches",
        "An empty answer makes the caller delete everything that it generated before.",
        "Correct the filters, or delete the ApplicationSet or the ResourceSet where its groups are really gone.",
    ),
    Code(
        "A204",
        "no fleet has been read yet",
        "Until the first tree that can be read there is nothing to answer with, and an empty answer would delete what there is.",
        "Correct the problems that the service's log and /healthz show.",
    ),
    Code(
        "A205",
        "answer is too large",
        "flux-operator takes at most 900 KiB, and cuts a list at its limit without a word.",
        "Filter by cluster or labels and make a provider for each part; raise the limit of the provider and of the query together.",
    ),
    Code(
        "A206",
        "token file cannot be used",
        "A short or empty token can be guessed; a file that others may read is no secret.",
        "Write at least 16 characters without spaces into the file and give its mode 0600 or 0440.",
    ),
    Code(
        "A207",
        "certificate cannot be used",
        "A server that starts without the encryption that was asked for would send the token in the clear.",
        "Check that --tls-cert and --tls-key name a certificate chain and its key, in PEM and without a password.",
    ),
    # ---- A3: archives and OCI artifacts
    Code(
        "A301",
        "archive is not a whole tar.gz",
        "Damaged bytes, an early end, or content behind the end mean that two readers might see different files.",
        "Fetch it again; if it stays, make it again from its source.",
    ),
    Code(
        "A302",
        "name in an archive is not plain",
        "A name that is absolute, climbs up, or is written in an odd way is unpacked to different places by different tools.",
        "Rename the file where the archive is made.",
    ),
    Code(
        "A303",
        "entry of an archive is no plain file",
        "A link, a device or a pipe stands for content that the archive does not hold.",
        "Replace it by the file itself where the archive is made.",
    ),
    Code(
        "A304",
        "archive is too much",
        "Archives come from elsewhere and are read with limits, so that a small one cannot unpack to exhaust memory.",
        "Keep models and other large files out of it; manifests of a device group are some kilobytes.",
    ),
    Code(
        "A305",
        "archive holds a path twice",
        "Some tools take the first of the two and some the last.",
        "Make the archive again, with each path once.",
    ),
    # ---- A4: the Flux controller
    Code(
        "A401",
        "archive of a source is too large",
        "Archives are read into memory with a limit, so that one repository cannot end the controller that serves all others.",
        "Keep models out of the source (spec.ignore, or spec.include of a GitRepository); --max-source raises the limit.",
    ),
    Code(
        "A402",
        "archive of a source is not the one that its status names",
        "Bytes with another digest were changed on the way or in the store of the source controller, and are never compiled.",
        "Ask for a new archive (annotation reconcile.fluxcd.io/requestedAt on the source); if it stays, look for who writes there.",
    ),
    Code(
        "A403",
        "field of a FleetArtifact refused",
        "The path stays inside the source, and the interval is at least a second.",
        "Correct the field; 'trimtab flux-controller --print-crd' describes all of them.",
    ),
    Code(
        "A404",
        "folder of the fleet not in the source",
        "Without a manifest there is no device group, and publishing nothing would take away everything.",
        "Correct spec.path; it is relative to the root of the source, which may leave files out (spec.ignore).",
    ),
    Code(
        "A405",
        "no device group is selected",
        "A misspelt name or label would take away the artifacts of all groups.",
        "Correct spec.groups, or remove the FleetArtifact to take its artifacts away.",
    ),
    Code(
        "A406",
        "name of an artifact is too long",
        "It is made of the FleetArtifact's name and the group's, and Kubernetes takes 253 characters.",
        "Give the FleetArtifact a shorter name.",
    ),
    Code(
        "A407",
        "artifact belongs to another owner",
        "An ExternalArtifact of this name is there and was not made for this FleetArtifact; taking it would change what others deploy.",
        "Remove it, or rename the FleetArtifact or the group.",
    ),
    # ---- A6: comparing trees
    Code(
        "A601",
        "no such revision",
        "A comparison with nothing would show every object as new.",
        "Name a branch, a tag or a commit that the repository has; fetch what is missing.",
    ),
    Code(
        "A306",
        "address or arguments of an artifact refused",
        "Where an artifact goes, and what it is made of, must be said in full and without a password in it.",
        "Write oci://HOST/REPOSITORY:TAG; `trimtab artifact push --help` shows examples.",
    ),
    Code(
        "A307",
        "not an artifact of manifests",
        "Flux reads the first layer and Argo CD takes exactly one; what is neither is somebody else's image.",
        "Check the address; a container image is not pulled by this command.",
    ),
    Code(
        "A308",
        "bytes differ from their digest",
        "What the registry gave is not what it names, so it was changed on the way or in the store.",
        "Try again; if it stays, look at the registry's storage, and push the artifact anew.",
    ),
    Code(
        "A309",
        "registry leads to an address in the clear",
        "Logins and manifests would travel readable and changeable by anybody on the way.",
        "Give the registry a certificate; --plain-http allows it for a registry that is reached on a private line.",
    ),
    Code(
        "A310",
        "folder for the artifact is not empty",
        "Files of an earlier pull that the artifact no longer has would stay and be applied.",
        "Name a new folder, or remove the old one first.",
    ),
    # ---- A7: GitHub
    Code(
        "A701",
        "key of the comment refused",
        "The key stands in the hidden first line that tells our comment from all others, so it must be read in one way only.",
        "Choose a key of lower-case letters, digits, '.', '_', '/' and single '-'.",
    ),
    Code(
        "A702",
        "no token for GitHub",
        "Comments and checks are written as somebody; the token is taken from a file or the environment, never from a command line.",
        "Put the token into GITHUB_TOKEN, or name a file that holds it with --token-file.",
    ),
    Code(
        "A703",
        "measured cost that cannot be read",
        "An estimate is graded with what trimtab allocate prints as JSON; anything else could mean another period or unit.",
        "Write the file with: trimtab allocate ... --output json.",
    ),
    Code(
        "A704",
        "no estimate to grade",
        "What was promised stands hidden in the comment since it was written; grading against anything else would flatter.",
        "Grade the comment that trimtab github comment wrote, with the same --key and account, and do not edit it.",
    ),
    # ---- A5: the KRM function
    Code(
        "A501",
        "not a ResourceList",
        "A KRM function reads one ResourceList of config.kubernetes.io/v1 or v1beta1 on stdin; anything else was not meant for it.",
        "Run it through kustomize or kpt; docs/krm.md shows how.",
    ),
    Code(
        "A502",
        "configuration of the function refused",
        "A setting that is misspelt would otherwise be left out in silence.",
        "Write it as docs/krm.md says: a ConfigMap, or a FleetRender.",
    ),
    Code(
        "A503",
        "no fleet among the items",
        "The items are the function's only input; with none of Trimtab's kinds among them it would render nothing, and a host tool would remove everything.",
        "List the fleet's files under resources, and the function under transformers.",
    ),
    Code(
        "A504",
        "too much in a ResourceList",
        "The items may come from a stranger's pull request, so their size, number and depth are limited.",
        "Give the function the fleet alone, or a part of it.",
    ),
)
