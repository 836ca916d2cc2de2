"""Renders what a campaign found (campaign.json) and the list of bugs as Markdown, and puts it into docs/reliability.md."""
import campaign_parse as parse

PARTS = ("simulator", "crash", "model", "fuzz", "soak", "mutants")
ENOUGH_SEEDS = 10000       # of a campaign in which a class or a judge that stands at 0 is a failure
CONSEQUENCES = ("half-open", "torn-write", "lost-write")  # counted for each stream and write, not for each fault
YEAR_MS = 365.25 * 24 * 3600 * 1000
CAMPAIGN = ("<!-- campaign: written by `./dev campaign --write` -->\n", "<!-- end of campaign -->")
BUGS = ("<!-- bugs: written by `./dev campaign --write` from docs/bugs.txt -->\n", "<!-- end of bugs -->")


def cell(value):
    return (f"{value:,}" if isinstance(value, int) else str(value)).replace("|", "/").replace("\n", " ")


def table(heads, rows):
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)] + ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows])


def span(ms):
    for unit, length in (("years", YEAR_MS), ("days", 86400e3), ("hours", 3600e3)):
        if ms >= length:
            return f"{ms / length:.2f} {unit}"
    return f"{ms / 60e3:.1f} minutes"


def summary_of(name, part):
    if name == "simulator":
        total = part["total"]
        return f"{total['seeds']:,} seeds, {total['twice']:,} of them twice, {total['virtual_ms'] / YEAR_MS:.6f} virtual years ({span(total['virtual_ms'])})"
    if name == "crash":
        told = part["summary"]
        return f"{told.get('crash_states', 0):,} crash states, {told.get('distinct', 0):,} distinct"
    if name == "model":
        return f"{'the quick checks alone' if part['quick'] else 'all checks'}: {part['hold']} hold, {part['fail_as_they_must']} variants fail as they must; {part['states']:,} states"
    if name == "fuzz":
        return f"{len(part['targets'])} decoders, {sum(each['seconds'] for each in part['targets']) / 3600:.2f} hours, {sum(each['runs'] for each in part['targets']):,} inputs"
    if name == "soak":
        return f"{sum(part['summary'].get('injected', {}).values())} faults in {part['summary'].get('seconds', 0)} s"
    return f"{part['caught']} caught and {part.get('harmless', 0)} harmless of {part['ran']} that ran; {part['not_run']} of {part['there_are']} not run"


def parts_table(campaign):
    rows = []
    for name in PARTS:
        part = campaign["parts"].get(name, {"state": "not run", "reason": "nothing is known of it"})
        ran = part["state"] != "not run"
        rows.append([name, part["state"] if part["state"] == "passed" else f"**{part['state']}**", f"{part['seconds']:.0f} s" if ran else "-",
                     part["reason"] if not ran or "total" not in part and part.get("broken") else summary_of(name, part)])
    return table(["part", "outcome", "took", "what"], rows)


def simulator(part):
    total, counts = part["total"], part["total"]["counts"]
    begun = sum(count for name, count in counts.items() if name.startswith("fault."))
    rows = [[name, f"{each['first']}..{each['last']}", each["seeds"], each["twice"], len(each["failures"]), span(each["virtual_ms"]), each["events"]]
            for name, each in part["scenarios"].items()]
    classes = [[name, counts.get(f"fault.{name}", 0)] for name in parse.fault_classes()]
    world = [[name, counts[name]] for name in parse.world_kinds() if counts.get(name)]
    judges = [[judge["name"], ", ".join(map(str, judge["invariants"])), judge["what"], counts.get(f"judged.{judge['name']}", 0)] for judge in parse.judges()]
    points = [[name, counts.get(f"point.{name}.reached", 0), counts.get(f"point.{name}", 0)] for name in parse.fault_points()]
    seen = {name for name, _ in world} | {f"fault.{name}" for name, _ in classes} | {f"judged.{row[0]}" for row in judges}
    seen |= {f"point.{row[0]}{suffix}" for row in points for suffix in ("", ".reached")}
    others = [[name, count] for name, count in sorted(counts.items()) if name not in seen]
    counted = max(1, total["seeds"] - part["uncounted"])
    done = sum(count for name, count in world if name not in CONSEQUENCES)
    lines = [table(["scenario", "seeds", "ran", "twice", "failed", "virtual time", "events"], rows), "",
             f"{begun:,} faults were drawn, {begun / counted:.1f} a seed; {done:,} were done to the world, {done / counted:.1f} a seed, without {', '.join(CONSEQUENCES)}. "
             f"{total['events'] / max(1, part['busy_seconds']):,.0f} events a second and core, "
             f"{total['seeds'] * 3600 / max(1, part['seconds']):,.0f} seeds an hour on {part['processes']} cores."]
    if part["uncounted"]:
        lines.append(f"Processes that died took the counts of {part['uncounted']} seeds with them.")
    if zeros := part["never_seen"]:
        lines.append(f"Never seen: {', '.join(zeros)}" + (" (a failure)." if counted >= ENOUGH_SEEDS else f" (a failure from {ENOUGH_SEEDS:,} seeds on)."))
    return "\n".join(["### Simulator", "", *lines, "", "Faults by class, as they were drawn (one that finds nobody whom the promise lets it befall does nothing):", "",
                      table(["class", "drawn"], classes), "",
                      "What that did to machines, network and devices:", "", table(["what", "times"], world), "",
                      *(["Fault points in the code, how often a run came to them and how often it was sent the rare way:", "",
                         table(["point", "reached", "sent"], points), ""] if points else []),
                      "Judges, the invariants of protocols 12 that each watches, and how often it looked:", "",
                      table(["judge", "invariants", "what it watches", "judged"], judges), "", "What the runs came by:", "",
                      table(["what", "times"], others)])


def pairs(heading, told):
    return f"### {heading}\n\n" + table(["what", "value"], [[name.replace("_", " "), value] for name, value in told.items() if not isinstance(value, (dict, list))])


def details(campaign):
    blocks = []
    for name in PARTS:
        part = campaign["parts"].get(name, {})
        if part.get("state", "not run") == "not run" or part.get("broken"):
            continue
        if name == "simulator":
            blocks.append(simulator(part))
        elif name == "crash":
            blocks.append(pairs("Power cuts", part["summary"]))
        elif name == "fuzz":
            blocks.append("### Fuzzing\n\n" + table(["decoder", "inputs", "seconds", "edges covered", "features", "corpus"],
                          [[each[key] for key in ("target", "runs", "seconds", "edges", "features", "corpus")] for each in part["targets"]]))
        elif name == "soak":
            blocks.append(pairs("Soak of real processes", {**part["summary"].get("injected", {}), **{f"{tool}: bytes verified": each["verified_bytes"]
                                for tool, each in part["summary"].get("stock", {}).items()}, "history": part["summary"].get("history", {}).get("verdict", "-")}))
        elif name == "mutants":
            blocks.append("### Mutants\n\n" + table(["mutant", "rule", "outcome", "by", "seed"], [[each["name"], each["rule"], each["outcome"], each["caught_by"] or "-",
                          each["seed"] or "-"] for each in part["mutants"]]))
    return blocks


def failures(campaign):
    out = []
    for name in PARTS:
        for each in campaign["parts"].get(name, {}).get("failures", []):
            if isinstance(each, str):
                out.append(f"- {each}")
            else:
                out.append(f"- {each['scenario']} seed {each['seed']}: {each['what']}\n  `{each['reproduce']}`")
    return out


def report(campaign):
    """The generated section. Nothing in it is known from elsewhere than campaign.json and the sources' lists of classes and judges."""
    failed = failures(campaign)
    head = (f"Commit {campaign['commit']}{'' if campaign['clean'] else ' with changes that are not committed'}, {campaign['began']}, "
            f"{campaign['seconds'] / 60:.1f} minutes on {campaign['machine']}: **{campaign['verdict']}**.")
    if campaign.get("programs"):
        head += f" The programs were taken from {campaign['programs']}, and not built from this commit."
    blocks = [head, parts_table(campaign)]
    if failed:
        blocks.append("### What failed\n\n" + "\n".join(failed))
    return "\n\n".join(blocks + details(campaign)) + "\n"


def bug_table(found):
    return table(["date", "found by", "seed or test", "what", "commit"], [[bug[key] for key in ("date", "by", "seed", "what", "commit")] for bug in found]) + \
        f"\n\n{len(found)} bugs.\n"


def replace(text, markers, new):
    before, found, rest = text.partition(markers[0])
    _, end, after = rest.partition(markers[1])
    if not found or not end:
        raise ValueError(f"docs/reliability.md has no section {markers[0].strip()}")
    return before + found + new + end + after


def page(text, campaign, found):
    return replace(replace(text, CAMPAIGN, report(campaign)) if campaign else text, BUGS, bug_table(found))
