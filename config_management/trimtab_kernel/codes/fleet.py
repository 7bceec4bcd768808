"""Codes of fleet files."""

from __future__ import annotations

from trimtab_kernel.problems import Code

CODES: tuple[Code, ...] = (
    # ---- F1: reading one file, one document
    Code(
        "F101",
        "not YAML",
        "The text breaks the rules of YAML, so nothing after this place in the file could be read.",
        "Mend the line that is named; an editor with YAML support shows the same place.",
    ),
    Code(
        "F102",
        "not text in UTF-8",
        "Manifests are UTF-8 text. Other encodings and control characters show one thing and mean another.",
        "Save the file as UTF-8 and remove the character that is named.",
    ),
    Code(
        "F103",
        "too large",
        "Files come from anybody who can open a pull request, so their size and number are limited before they are read.",
        "Split the file, or keep files that are no manifests out of the fleet folder.",
    ),
    Code(
        "F104",
        "value refused",
        "The value has not the form that the field takes, so it would mean something else to each reader.",
        "Write the value as the message says; `trimtab schema KIND` shows every field.",
    ),
    Code(
        "F105",
        "unknown field",
        "A field that nobody reads is a setting that silently does not hold; most are spelling mistakes or wrong indentation.",
        "Correct the name or the indentation; `trimtab schema KIND` shows every field.",
    ),
    Code(
        "F106",
        "missing field",
        "The object means nothing without this field, and no default would be right.",
        "Add the field; `trimtab schema KIND` shows which ones are required.",
    ),
    Code(
        "F107",
        "key written twice",
        "YAML readers disagree on which of two equal keys wins, so the object would differ from tool to tool.",
        "Remove one of the two.",
    ),
    Code(
        "F108",
        "object written twice",
        "Two objects of one kind, namespace and name cannot both be applied.",
        "Rename or remove one of them.",
    ),
    Code(
        "F109",
        "unknown kind or API version",
        "The document looks like one of Trimtab's but is none; skipping it would drop it in silence.",
        "Write apiVersion and kind as the message says, or move the document out of the fleet folder.",
    ),
    Code(
        "F110",
        "alias refused",
        "Aliases that multiply or contain themselves turn a small file into more memory than there is.",
        "Write the values out, or use fewer aliases.",
    ),
    Code(
        "F111",
        "tag refused",
        "YAML tags make readers build objects of other types; a manifest is plain data.",
        "Remove the tag; for text that looks like a number use quotes.",
    ),
    Code(
        "F112",
        "nested too deeply",
        "No manifest is this deep; such files exhaust the stack of readers.",
        "Flatten the document, or keep the file out of the fleet folder.",
    ),
    Code(
        "F113",
        "wrong type",
        "YAML gives unquoted values types (1.10 is the number 1.1, no is false), and lists, objects and text are different things.",
        "Write the type that the message names; quote text that looks like a number or a boolean.",
    ),
    Code(
        "F114",
        "tab",
        "YAML forbids tabs in indentation, because their width is in the eye of the beholder.",
        "Replace the tab by spaces.",
    ),
    Code(
        "F115",
        "merge key refused",
        '"<<" adds the entries of other objects; it takes nothing else.',
        'Give "<<" an alias of an object, or a list of such aliases.',
    ),
    Code(
        "F116",
        "list or object refused",
        "An empty list where something is required, or an entry that stands twice, is a slip of editing.",
        "Add an entry, or remove the repeated one.",
    ),
    Code(
        "F117",
        "nothing to read",
        "There is no object of Trimtab's kinds here; an empty fleet would remove everything that runs.",
        "Check the path; `trimtab schema --list` shows the kinds.",
    ),
    Code(
        "F118",
        "file cannot be read",
        "Only plain files inside the fleet folder are read: a link that leaves it, a device or a pipe could bring in anything.",
        "Replace it by a plain file inside the folder, or correct its permissions.",
    ),
    Code(
        "F119",
        "unknown name on the command line",
        "Codes and kinds are fixed names, so a name that is not among them has no answer.",
        "Take the name from the message that was shown, or from --list.",
    ),
    # ---- F12: fields of one object that contradict each other
    Code(
        "F120",
        "wave without a single measure",
        "A wave is either a percentage of devices or a list of groups; with both or none of them nobody knows who is meant.",
        'Keep one of "percent" and "groups".',
    ),
    Code(
        "F121",
        "waves that shrink",
        "Membership of a wave only grows, so that no device is moved back and forth.",
        "Order the waves by rising percentages.",
    ),
    Code(
        "F122",
        "unknown wave",
        "The current wave must be one of the listed ones.",
        'Name a listed wave in "rollout.wave", or add the wave.',
    ),
    Code(
        "F123",
        "cohorts refused",
        "Fairness compares cohorts, so there must be at least two, each with a clear and separate set of values.",
        "Give each cohort either one value or one range, without overlap.",
    ),
    Code(
        "F124",
        "bounds out of order",
        "A figure lies between its bounds.",
        "Correct the bounds: low <= value <= high.",
    ),
    Code(
        "F125",
        "dates out of order",
        "A period ends after it begins.",
        "Correct one of the dates.",
    ),
    Code(
        "F126",
        "name used twice in a list",
        "Entries are referred to by name, so a name must mean one of them.",
        "Rename or remove one of the entries.",
    ),
    Code(
        "F127",
        "Hold of nothing",
        "A Hold keeps one version or one digest out; without either it would stop every version, the good ones included.",
        "Name the version, the digest, or both.",
    ),
    Code(
        "F128",
        "strategy and percentage contradict",
        "A staged rollout needs its percentage, and an immediate one reaches every eligible device.",
        "Correct type or rolloutPercentage.",
    ),
    Code(
        "F129",
        "shares beyond 100 %",
        "The arms of an experiment divide the devices between them.",
        "Lower the shares so that they add up to 100 % at most.",
    ),
    Code(
        "F130",
        "rate that means nothing",
        "A rate turns amounts into others: nought, a currency's rate to itself, or two rates for one day give no answer.",
        "Correct the rate, its currency or its dates.",
    ),
    Code(
        "F131",
        "price class missing",
        "A share of requests that goes to an endpoint costs what the endpoint costs, so the price must be findable.",
        "Name the price class, and put its price in the price book under offloadPer1k.",
    ),
    Code(
        "F140",
        "observation that cannot be read",
        "Advice about limits rests on what devices were seen to need; a line that is half understood would mislead it.",
        "Correct the line; a figure that is not known stays empty.",
    ),
    Code(
        "F141",
        "advice needs a folder",
        "Advice is a patch of the fleet's files, tried on the whole fleet.",
        "Give the folder that holds the fleet.",
    ),
    Code(
        "F142",
        "line of a device list that is none",
        "Who is in a wave follows from ids and groups; a device that is left out in silence would make the count wrong.",
        "Write DEVICE,GROUP on each line, without a header, with a group of the fleet and an id of 253 bytes at most.",
    ),
    Code(
        "F143",
        "device listed twice",
        "A device that is counted twice makes a wave look larger than it is.",
        "List each device once; 'sort FILE | uniq -d' names those that come again.",
    ),
    # ---- F2: references between objects
    Code(
        "F201",
        "name used in two namespaces",
        "References to groups, models, policies and price books carry no namespace, so a name must mean one object.",
        "Rename one of the two.",
    ),
    Code(
        "F202",
        "unknown model",
        "What refers to a model that is not in the tree would deploy, or hold, nothing.",
        "Correct the name, or add the Model.",
    ),
    Code(
        "F203",
        "unknown version",
        "Only versions that the Model lists have digests, sizes and measured profiles.",
        "Correct the version, or add it to the Model.",
    ),
    Code(
        "F204",
        "unknown policy",
        "A policy that is not in the tree cannot be kept; deploying without it would be worse than refusing.",
        "Correct the name, or add the policy.",
    ),
    Code(
        "F205",
        "unknown device group",
        "A wave or a Hold that names a group which is not there (or not chosen by the labels) has no effect.",
        "Correct the name or the labels, or add the DeviceGroup.",
    ),
    Code(
        "F206",
        "labels choose no device group",
        "The deployment would run nowhere, in silence; most such labels are spelling mistakes.",
        "Correct the labels, or remove what is no longer deployed.",
    ),
    Code(
        "F207",
        "on-device model reaches no device group",
        "The system, memory or jurisdiction of every group rules the model out, so nobody would ever get it.",
        "Correct the requirements in spec.targetDevices, or add a group of devices that meet them.",
    ),
    # ---- F6: dates, judged by `validate --as-of`, never by render
    Code(
        "F601",
        "Hold past its date",
        "A Hold counts until a commit removes it, so one that has expired still keeps its version out.",
        "Remove the Hold, or give it a later date and the reason for it.",
    ),
    Code(
        "F602",
        "price book out of date",
        "Estimates made with prices of another time mislead; render goes on with them, people should know.",
        "Add a price book that is valid on the date, or correct its dates.",
    ),
    Code(
        "F603",
        "model too old",
        "The alignment policy limits how long ago a model may have been released.",
        "Release and deploy a newer version, or change maximumModelAge in the policy.",
    ),
    Code(
        "F604",
        "exchange rate out of date",
        "The price book has rates of this currency, and none of them holds on the date, so nothing can be converted.",
        "Add a rate that holds on the date to spec.exchangeRates.",
    ),
    Code(
        "F605",
        "exception is over",
        "An exception from a policy was given until a day, and that day has passed. Rendering knows no date, so it still "
        "turns refusals into warnings there; devices and `validate` go by the day.",
        "Remove the exception; or ask its owner, and give it a later day with a reason.",
    ),
    Code(
        "F606",
        "exception ends soon",
        "An exception from a policy ends within fourteen days. From then on `validate` refuses what it covers, and devices "
        "take no new version that needs it.",
        "Do what the rule asks before that day; or ask its owner, and give it a later day with a reason.",
    ),
    Code(
        "F607",
        "exception for nobody",
        "An exception from a policy names a deployment or a device group that the fleet does not have, so it excuses nothing "
        "of it.",
        "Correct the name, or remove it; an exception that names none is for all.",
    ),
)
