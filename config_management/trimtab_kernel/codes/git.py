"""Codes of Git repositories: G1 what a repository holds, G2 proposals, G3 restoring, G4 sync."""

from __future__ import annotations

from trimtab_kernel.problems import Code

CODES: tuple[Code, ...] = (
    Code(
        "G101",
        "not a plain file in Git",
        "A symbolic link, a submodule or an odd mode stands for content that the commit does not hold, so what is compiled would not be what was reviewed.",
        "Replace it by the file itself.",
    ),
    Code(
        "G102",
        "name or tree refused",
        "A name that is not UTF-8, that no checkout may have, or that is listed twice cannot be shown and compared safely.",
        "Rename the file; for a malformed tree run 'git fsck' and find out which tool wrote it.",
    ),
    Code(
        "G103",
        "not the object that was asked for",
        "The id names nothing, another kind of object, or a malformed one.",
        "Check the id with 'git cat-file -t ID'; push what is missing.",
    ),
    Code(
        "G104",
        "too much to read",
        "Content that others push is read with limits, so that one commit cannot exhaust the memory of what watches the repository.",
        "Keep large files out of the fleet folder; models belong in an artifact store.",
    ),
    Code(
        "G105",
        "history too long to judge",
        "A statement about all commits of a change needs all of them; a part of them proves nothing.",
        "Merge smaller changes, or judge this one by hand.",
    ),
    Code(
        "G106",
        "folder not in the commit",
        "The folder of the fleet does not exist in this commit; an empty fleet would remove every group.",
        "Check the path; it is relative to the root of the repository.",
    ),
    Code(
        "G107",
        "path cannot be written",
        "The path leaves the tree, goes through a file, or names nothing that could be removed.",
        "Read the tree again; it has changed, or the path is wrong.",
    ),
    Code(
        "G108",
        "not a ref or object id",
        "Only whole object ids, full refs and branch names are taken, so that no other text can change what git does.",
        "Write the branch's name as 'git branch --list' shows it.",
    ),
    Code(
        "G109",
        "address of a repository refused",
        "Fleet files decide what devices run, so they come over HTTPS, and a password in an address would end up in logs.",
        "Write https://HOST/OWNER/NAME.git; the token stands in a file of its own.",
    ),
    Code(
        "G201",
        "text of a proposal refused",
        "A title becomes the first line of a merge commit, and a key must be the same on every attempt; both are one line.",
        "Shorten the text, and put the rest into the body.",
    ),
    Code(
        "G202",
        "record of a proposal cannot be read",
        "refs/pull/N/meta holds what this host wrote about proposal N; something else was pushed there.",
        "Find out who pushed to refs/pull; remove the ref, and the proposal can be opened again.",
    ),
    Code(
        "G203",
        "branches do not allow a proposal",
        "A proposal needs a base branch that exists, a branch of its own, and a commit that the base does not have yet.",
        "Choose another branch name, or look at the branch that is already there.",
    ),
    Code(
        "G204",
        "repository has a working tree",
        "Merging moves a branch; a working tree that has it checked out would silently fall behind.",
        "Use a bare repository ('git clone --bare') as the shared one.",
    ),
    Code(
        "G301",
        "object to restore not found",
        "The object is neither in the current tree nor at the commit that is restored.",
        'Check apiVersion, kind, namespace and name; an object without a namespace is in "default".',
    ),
    Code(
        "G302",
        "file cannot be read for restoring",
        "A file that cannot be read to its end might hold the object that is restored.",
        "Repair the file ('trimtab validate' says where it is broken), then restore.",
    ),
    Code(
        "G303",
        "file cannot be edited object by object",
        "The borders between its documents are not lines of their own, so cutting one out might take a part of another.",
        'Restore this file by hand, or write its documents parted by lines of "---".',
    ),
    Code(
        "G304",
        "edit would change something else",
        "The edited file was read again, and it does not hold exactly the objects that it must.",
        "Restore this object by hand.",
    ),
    Code(
        "G305",
        "object to restore is there twice",
        "Which of the two is meant cannot be known.",
        "Remove one of them first.",
    ),
    Code(
        "G306",
        "restored tree is not what was promised",
        "Read by the compiler, an object differs from the good commit, or another one differs from the current base.",
        "Do not merge it; restore by hand and look at what differs.",
    ),
    Code(
        "G307",
        "restored tree has problems",
        "What cannot be read cannot be compared, so nothing is proven.",
        "Repair what 'trimtab validate' names, in the base branch, then restore.",
    ),
    Code(
        "G401",
        "another sync writes there",
        "Two writers of one folder would take each other's groups away.",
        "Stop the other process, or give this one a folder of its own.",
    ),
    Code(
        "G402",
        "folder is not an output of sync",
        "Groups that leave the fleet are removed from the output, so sync takes only folders that it made itself.",
        "Name an empty or new folder, or move away what is there.",
    ),
    Code(
        "G403",
        "fleet without device groups",
        "Applying it would remove every group from every device.",
        "Check --path; to retire a fleet on purpose, stop sync and remove its output.",
    ),
)
