"""Codes of policy (F5): what rules say about a fleet, and bundles of rules."""

from __future__ import annotations

from trimtab_kernel.problems import Code

CODES: tuple[Code, ...] = (
    Code(
        "F501",
        "refused by policy",
        "A rule of the policies that the deployment refers to says no. The message begins with the rule's own name; every "
        "rule says why it exists and how to get unblocked.",
        "Do what the message says, or see 'trimtab policy explain RULE'.",
    ),
    Code(
        "F502",
        "policy warns",
        "A rule found something that its policy only warns of, or an exception excuses it. Nothing is refused.",
        "Mend it when convenient; 'trimtab policy explain RULE' says why it matters.",
    ),
    Code(
        "F503",
        "policy would say no",
        "A rule on trial, or one that cannot be sure, found something. It is told only where it is asked for "
        "(validate --policy-level dry-run).",
        "Look at it before the rule becomes binding.",
    ),
    Code(
        "F504",
        "no decision by policy",
        "The rules gave no answer: undefined, out of time or memory, or a failure inside. No answer is a refusal, never consent.",
        "Report it with the message. With rules of your own, run 'trimtab policy test' on them.",
    ),
    Code(
        "F505",
        "policy bundle cannot be used",
        "The bundle is damaged, is not what its manifest says, or needs functions that are not there; none of it is used.",
        "Build it anew with 'trimtab policy build'.",
    ),
    Code(
        "F506",
        "policy source refused",
        "OPA does not accept the Rego, it calls a function that does not give the same answer everywhere (a clock, the network, "
        "text read as a number), or a rule lacks its title, its reason or the way out.",
        "Mend the file and line that the message names.",
    ),
    Code(
        "F507",
        "policy test failed",
        "A test of the rules, or a case of a table, came out otherwise than written down.",
        "Correct the rule, or the case if the rule is right.",
    ),
    Code(
        "F508",
        "rule unknown",
        "A policy gives a level or an exception to a rule that does not exist, or belongs to the other kind of policy, so it "
        "would hold for nothing.",
        "Correct the name; 'trimtab policy explain' lists the rules.",
    ),
    Code(
        "F509",
        "policy bundle not signed as asked",
        "Nobody whose key is trusted signed exactly these files for this purpose: a signature is missing, by another key, for "
        "another scope, or over other files. None of the bundle is used; what was in force before stays.",
        "Sign the bundle with 'trimtab policy build --signing-key', or name the key that it was signed with by --policy-key.",
    ),
    Code(
        "F510",
        "key for policy bundles cannot be used",
        "The file is no PEM key of RSA (2,048 bits or more) or of the curve P-256, or it has a password.",
        "Name the right file; 'openssl pkey -in FILE -noout -text' shows what a key is.",
    ),
)
