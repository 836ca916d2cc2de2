"""What membership costs and how long it takes, on a simulated network of its cores."""
import json
import os
import subprocess

from lab import BIN

HEAD_BYTES = 20 + 28  # of a datagram: the seal, and those of UDP and IPv4


def simulate(corelets, minutes, loss):
    done = subprocess.run([os.path.join(BIN, "bench_membership"), str(corelets), str(minutes), str(loss)], capture_output=True, text=True, check=False)
    return json.loads(done.stdout)


def gossip(options):
    """Membership of 9, 100 and 1,000 corelets: an hour of 20 % loss, bytes a second, time to a verdict."""
    out = []
    for corelets, loss in ((9, 20), (100, 20), (1000, 0)):
        minutes = 1 if options.quick or corelets == 1000 else 60
        got = simulate(corelets, minutes, loss)
        each = got["bytes_per_second"] + got["messages_per_second"] * HEAD_BYTES
        print(f"  {corelets:>5} corelets, {minutes} min of {loss} % loss: {got['messages_per_second']:.1f} messages and {each:.0f} bytes a second and corelet, "
              f"{got['confirmed_wrongly']} confirmed wrongly; of {got['deaths']} deaths the last was suspected after {got['suspected_ms'][1]} ms, confirmed after "
              f"{got['confirmed_ms'][1]} ms", flush=True)
        out.append((f"gossip of {corelets}, {loss} % loss: confirmed wrongly in {minutes} min", str(got["confirmed_wrongly"]), "0"))
        if not loss:
            out.append((f"gossip of {corelets}: bytes a second and corelet", f"{each:.0f}", "5000"))
            out.append((f"gossip of {corelets}: a death is suspected, confirmed", f"{got['suspected_ms'][1]}, {got['confirmed_ms'][1]} ms", "2000, 5000 ms"))
    return out
