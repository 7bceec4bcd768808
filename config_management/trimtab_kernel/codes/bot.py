"""Codes of the bot."""

from __future__ import annotations

from trimtab_kernel.problems import Code

CODES: tuple[Code, ...] = (
    # B10x: the configuration and the state directory
    Code(
        "B101",
        "the configuration cannot be read",
        "The bot acts on what this file says, so it starts only from a readable YAML document.",
        "Name a file of your own with --config; examples/demo writes one that works.",
    ),
    Code(
        "B103",
        "field of the configuration refused",
        "A field is missing or has a value that the bot cannot work with.",
        "Give the field what the message expects.",
    ),
    Code(
        "B104",
        "two persons with one id",
        "Decisions are counted by person; two people under one id would count as one.",
        "Give each person an id of their own.",
    ),
    Code(
        "B105",
        "two persons with one token",
        "A token says who decides; shared, it says nothing, and one person could approve twice.",
        "Make a token for each person, and write down its SHA-256 alone.",
    ),
    Code(
        "B106",
        "one Git identity with two persons",
        "Authors of a change may not approve its rollback, so each identity must lead to exactly one person.",
        "List the identity with the person who uses it.",
    ),
    Code(
        "B107",
        "another bot uses this state directory",
        "Two bots that share their state without knowing of each other could act twice.",
        "Stop the other one, or give this one a state directory of its own.",
    ),
    Code(
        "B108",
        "fewer approvers than the quorum",
        "No proposal could ever be approved.",
        "Give more people the role approver, or lower approval.quorum.",
    ),
    Code(
        "B110",
        "token or key cannot be read",
        "The bot acts on GitHub as somebody; who that is stands in a file of its own, never in the configuration.",
        "Put the token, or the App's private key (PEM), into the file that is named; let only the bot read it (chmod 600).",
    ),
    Code(
        "B109",
        "the state was written by a newer Trimtab",
        "An older program does not know what the newer one wrote and could act on half of it.",
        "Start the newer version, or restore the state directory from before it.",
    ),
    # ---- B3: what is proposed
    Code(
        "B301",
        "no commit found that brought the version",
        "A rollback undoes one change; within the commits that were searched none moved the model to this version.",
        "Find the change by hand, or let the bot search further back (changes.searchCommits).",
    ),
    Code(
        "B302",
        "no earlier state to go back to",
        "The change that brought the version is the first that mentions the model.",
        "Release a corrected version, or hold this one with a stable version to fall back to.",
    ),
    Code(
        "B303",
        "the earlier state cannot be restored",
        "The objects of the model were changed since in a way that a rollback would undo as well.",
        "Restore by hand what the message names; people's later work is not overwritten.",
    ),
    Code(
        "B304",
        "the restored state does not validate",
        "A rollback that the fleet cannot render would leave it on the bad version.",
        "Mend what the message names, then let the bot propose again.",
    ),
    Code(
        "B305",
        "the rollback is stale",
        "The branch has moved on to another version, which the evidence calls fine; a rollback would undo that.",
        "Nothing, unless the evidence is wrong; the proposal closes by itself.",
    ),
    Code(
        "B307",
        "no such remedy",
        "Remedies are registered steps; nothing else may change the fleet.",
        "Use one that the message lists.",
    ),
    Code(
        "B308",
        "options of a remedy refused",
        "Each remedy has a schema, and these options do not fit it.",
        "Give the option what the message expects.",
    ),
    Code(
        "B309",
        "the rollback would not remove the version",
        "After the rollback some device group would still be told to run the version.",
        "Look at the group that the message names: another deployment asks for the version there.",
    ),
    Code(
        "B310",
        "the fleet at the head of the branch does not compile",
        "While the tree has problems the bot cannot tell what a rollback would change.",
        "Run `trimtab validate` on the branch and mend what it shows.",
    ),
    Code(
        "B311",
        "too many proposals on one base",
        "Proposals for the same change keep ending before anybody decides, so one more would not help.",
        "Find out why they end (the last reason is given), or act by hand; the bot tries again when the branch moves.",
    ),
    Code(
        "B312",
        "the Git host refuses the proposal",
        "The host does not take the branch or the commit as it is; the same again would be refused again.",
        "Read the reason; the bot tries another name by itself.",
    ),
    # B40x, B41x, B43x: decisions
    Code(
        "B401",
        "a decision about another proposal",
        "A decision is good for the one proposal that was looked at.",
        "Open the proposal again and decide anew.",
    ),
    Code(
        "B402",
        "not a configured person",
        "Only people whom the bot's configuration lists may decide.",
        "Ask whoever keeps the configuration for an entry under people.",
    ),
    Code(
        "B403",
        "no role that may decide",
        "A viewer sees the evidence but does not decide.",
        "Let an approver decide, or ask for the role.",
    ),
    Code(
        "B404",
        "the proposer may not decide",
        "Whoever proposes a change must not wave it through; this holds for the bot under any name.",
        "Another person decides.",
    ),
    Code(
        "B405",
        "an author of the offending change may not decide",
        "Author, committer, co-authors and merger have a stake in the change that would be undone.",
        "A person without a hand in the change decides.",
    ),
    Code(
        "B406",
        "an author of the offending change is not known",
        "A Git identity that belongs to no configured person could be anybody's, the approver's included.",
        "Add the identity to the person who uses it, exactly as the commit spells it.",
    ),
    Code(
        "B408",
        "the approval is used up",
        "An approval is good for one merge, which has happened.",
        "Nothing; a new change needs a new proposal.",
    ),
    Code(
        "B409",
        "the decision is about something else",
        "The digest that was decided about is not the digest of the proposal as it stands.",
        "Look at the proposal again and decide about what it says now.",
    ),
    Code(
        "B410",
        "the proposal has expired",
        "An old decision must not steer a fleet that has moved on.",
        "Decide about the new proposal that the bot makes while the breach lasts.",
    ),
    Code(
        "B411",
        "the proposal is not open for this decision",
        "It is not on the Git host yet, has enough approvals already, or is over.",
        "`trimtab inbox show` says where it stands.",
    ),
    Code(
        "B412",
        "the base branch has moved",
        "What was approved is this change on this base; on another base it is another change.",
        "Decide about the new proposal on the new base.",
    ),
    Code(
        "B413",
        "the proposed commit has changed",
        "Somebody pushed to the proposal after it was made.",
        "Decide about the new proposal; find out who pushed.",
    ),
    Code(
        "B414",
        "the proposed tree has changed",
        "The commit no longer holds the files that were shown.",
        "Decide about the new proposal; find out who changed the repository.",
    ),
    Code(
        "B415",
        "what would be changed has changed",
        "The proposal would now change other device groups or versions than those that were shown.",
        "Decide about the new proposal.",
    ),
    Code(
        "B416",
        "the evidence has changed",
        "What was measured, or the limit that it is measured by, no longer says what was approved.",
        "Decide about the new proposal, if there still is a breach.",
    ),
    Code(
        "B417",
        "the rules of approval have changed",
        "A decision under other rules is not a decision under these.",
        "Decide about the new proposal.",
    ),
    Code(
        "B418",
        "the expiry has changed",
        "The time until which a decision holds is part of what was approved.",
        "Decide about the new proposal; find out who changed the bot's state.",
    ),
    Code(
        "B419",
        "another repository or branch",
        "A decision about one repository and branch must not be used on another.",
        "Decide about the new proposal.",
    ),
    # B42x: the inbox's door
    Code(
        "B420",
        "too many wrong tokens",
        "Ten wrong tokens came from one address within a minute.",
        "Wait the time that the answer names, then send the right token.",
    ),
    Code(
        "B421",
        "no valid token",
        "Everything in the inbox is done as a person, and a person is known by a token.",
        "Send your own token; ask whoever keeps the bot's configuration for one.",
    ),
    Code(
        "B422",
        "a form that is not from this page",
        "A decision came without the secret of the page it should come from, or from another site (cross-site request forgery).",
        "Open the proposal again and decide there.",
    ),
    Code(
        "B423",
        "a denial without a reason",
        "Others will ask why; the reason is shown to them and recorded.",
        "Write one, of at most 2000 characters.",
    ),
    Code("B424", "no such proposal", "No proposal has this id.", "`trimtab inbox list` shows the ids."),
    Code(
        "B425",
        "a decision of the wrong shape",
        "The API takes a small JSON object with the digest of what was looked at.",
        'Send {"digest": "sha256:...", "reason": "..."}.',
    ),
    Code(
        "B426",
        "the inbox's URL is missing or unfit",
        "A token must not travel in the clear to another machine, nor be part of a URL.",
        "Give http://HOST:PORT on this machine, or https.",
    ),
    Code(
        "B427",
        "no token file",
        "A token is read from a file, never from the command line, which other users of the machine can see.",
        "Put your token alone into a file, chmod 600, and name it with --token-file.",
    ),
    # B43x: how decisions end, or why they wait
    Code(
        "B430",
        "merged by hand",
        "Somebody merged the proposal on the Git host without the bot; people overrule it.",
        "Nothing; the bot watches the fleet as if it had merged.",
    ),
    Code(
        "B431",
        "closed by hand",
        "Somebody closed the proposal on the Git host; people overrule the bot.",
        "Act by hand if the breach lasts; the bot does not propose the same again.",
    ),
    Code(
        "B432",
        "approvals no longer suffice",
        "A person who had approved has lost the role since, or is no longer configured.",
        "Another person approves.",
    ),
    Code(
        "B433",
        "denied",
        "A person decided against the proposal; the reason stands with it.",
        "Act by hand if the breach lasts; the bot does not propose the same again.",
    ),
    Code(
        "B434",
        "the Git host did not merge",
        "The host found the proposal not ready; nothing has changed there.",
        "The bot looks again at its next tick; the reason tells what is missing.",
    ),
    Code(
        "B435",
        "approved, waiting for evidence",
        "Unknown evidence rolls nothing back: at this moment the data are stale, too few or not decisive.",
        "The merge follows when the evidence says breach again; after the expiry a new proposal is needed.",
    ),
    Code(
        "B436",
        "cannot be checked now",
        "The Git repository or the metrics source does not answer, so nobody knows what would be approved.",
        "Try again in a moment.",
    ),
    # B50x: the ledger
    Code(
        "B501",
        "an entry of the ledger cannot be read",
        "It is not canonical JSON with the fields of an entry, so it is not what the bot wrote.",
        "Treat the ledger as tampered with: keep the file, compare it with a backup.",
    ),
    Code(
        "B502",
        "entries of the ledger are out of order",
        "An entry is missing, doubled or moved.",
        "Treat the ledger as tampered with: keep the file, compare it with a backup.",
    ),
    Code(
        "B503",
        "a link of the ledger is broken",
        "An entry links to another predecessor than the one before it: something earlier was rewritten.",
        "Treat the ledger as tampered with: keep the file, compare it with a backup.",
    ),
    Code(
        "B504",
        "an entry of the ledger was changed",
        "Its content does not have the hash that was stored with it.",
        "Treat the ledger as tampered with: keep the file, compare it with a backup.",
    ),
    Code(
        "B505",
        "the end of the ledger is missing or rewritten",
        "The bot noted an entry as durable that is not there, or is another one.",
        "Treat the ledger as tampered with: keep the file, compare it with a backup.",
    ),
    Code(
        "B506",
        "two ledger entries under one key",
        "What was written once is asked to be written again with another content.",
        "Look for a second bot on the same state; this one stops rather than rewrite the past.",
    ),
)
