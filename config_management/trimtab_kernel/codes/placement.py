"""Codes of placement (F3: who runs what) and money (F4)."""

from __future__ import annotations

from trimtab_kernel.problems import Code

CODES: tuple[Code, ...] = (
    Code(
        "F301",
        "no variant fits a device group",
        "A deployment selects the group, and its hardware, region or power rules out every variant of the version. "
        "Leaving the group out in silence would look like a successful rollout.",
        "Release a variant for such devices, ask for another tier, or choose labels that leave the group out.",
    ),
    Code(
        "F302",
        "one model twice in a group",
        "Two deployments bring the same model to one device group, and a device can run only one version of it.",
        "Change the labels of one of the two deployments.",
    ),
    Code(
        "F303",
        "version is held and nothing is left to run",
        "A Hold keeps the version out of the group, and there is no stable version to fall back to that is not held too.",
        "Name another version, name spec.rollout.stable, or remove the Hold once its reason is gone.",
    ),
    Code(
        "F304",
        "version is held",
        "What is written in Git is not what runs: the devices get the stable version as long as the Hold is there.",
        "Name a version that is not held, or remove the Hold once its reason is gone.",
    ),
    Code(
        "F305",
        "group cannot run the runtime",
        "An EdgeAIDeployment runs on K3s nodes, which are Linux; phones take OnDeviceModels, which the app fetches.",
        "Choose labels that leave the group out, or write an OnDeviceModel.",
    ),
    Code(
        "F306",
        "limits beyond the device",
        "One runtime serves all deployments of a group, with the sum of their limits; a device that has less would never start it.",
        "Lower the limits of a deployment, or choose labels that leave the group out.",
    ),
    Code(
        "F307",
        "on-device model cannot be delivered",
        "The model's id becomes a directory and a metric label on the device, and versions of phone systems must be comparable.",
        "Correct the field that the message names.",
    ),
    Code(
        "F308",
        "two kinds of workload in one group",
        "The deployments of a group share one runtime, which is a DaemonSet or a Deployment, not both.",
        "Give all deployments of the group the same spec.workload.",
    ),
    Code(
        "F309",
        "two deployments become one object",
        "Deployments are rendered into the namespace of the group, so two of one name from two namespaces would be one.",
        "Rename one of them.",
    ),
    Code(
        "F310",
        "too much for one device group",
        "The desired document and the cost report travel in ConfigMaps, which hold at most 1 MiB, and devices refuse more.",
        "Split the device group.",
    ),
    Code(
        "F311",
        "device group unknown",
        "The command names a device group that is not in the tree.",
        "Correct the name; 'trimtab render PATH --list-groups' prints all of them.",
    ),
    Code(
        "F312",
        "endpoint outside the group's jurisdiction",
        "An offload or an egress rule names an endpoint under another law than the group's. A device would refuse it, and "
        "leaving it out in silence would look like an offload that is there.",
        "Name an endpoint in the group's jurisdiction, or choose labels that leave the group out.",
    ),
    Code(
        "F313",
        "offload that the alignment policy forbids",
        "An offload sends what a person gave the device to somewhere else. The policy of the deployment allows no data to "
        "leave, or not to that jurisdiction.",
        "Take spec.offload out, or let the policy's dataEgress allow it.",
    ),
    Code(
        "F314",
        "endpoint that no egress rule opens",
        "The group lists where its pods may connect to, and a model's file or an offload lies elsewhere: devices could "
        "never reach it. A NetworkPolicy knows addresses and no names, so each host name needs its addresses.",
        "Add the host to a rule of spec.network.egress of the DeviceGroup, with its addresses and its port.",
    ),
    Code(
        "F401",
        "no price book",
        "A cost without prices would be zero, which is never true.",
        "Add a PriceBook that prices the regions of the fleet.",
    ),
    Code(
        "F402",
        "price missing",
        "A figure depends on a price that the price book does not have; counting it as zero would hide the cost.",
        "Add the price for this region and class to the price book.",
    ),
    Code(
        "F403",
        "price book unknown",
        "--price-book names a book that is not in the tree.",
        "Use one of the names that the message lists.",
    ),
    Code(
        "F404",
        "two price books at once",
        "Two books that price the same region are equally new, so either could be meant.",
        "Name one with --price-book, or remove the one that is out of date.",
    ),
    Code(
        "F405",
        "exchange rate missing",
        "Amounts in two currencies have no sum; taking one for the other would be wrong by as much as the rate.",
        "Add the rate with its dates to spec.exchangeRates of a price book, or ask for no single currency.",
    ),
    Code(
        "F406",
        "exchange rate not valid on the day",
        "A rate holds between two dates; one of another time gives a sum that nobody can check.",
        "Add a rate that holds on the day, or name a day that the rates cover with --as-of.",
    ),
    Code(
        "F407",
        "two exchange rates at once",
        "Two price books give different rates for the same day, so either could be meant.",
        "Remove the one that is wrong, or name the book with --price-book.",
    ),
    Code(
        "F408",
        "telemetry history that cannot be right",
        "Money that is billed from rows which contradict themselves, or are told twice, cannot be checked by anybody.",
        "Correct the rows; docs/money.md describes every column and the queries that make a history.",
    ),
    Code(
        "F409",
        "engine not known",
        "The expressions run on DuckDB, on Spark, or on an engine that Ibis reaches by a URL.",
        "Use one of these names, and install the engine's client where it is not DuckDB.",
    ),
    Code(
        "F410",
        "history of a group that the fleet does not have",
        "Without the group's hardware and prices its devices would cost nothing, which is never true.",
        "Name the fleet as it was when the history was written, or leave the group's rows out.",
    ),
    Code(
        "F411",
        "no prices of the time that is billed",
        "What was measured is paid at the prices of its time; those of another time would bill what nobody agreed to.",
        "Add the price book of that time, cut the period with --from and --to, or name a book with --price-book.",
    ),
)
