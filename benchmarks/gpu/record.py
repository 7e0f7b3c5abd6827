"""What came home from a GPU as a record: python benchmarks/gpu/record.py NAME FOLDER..., each holding plan.log and the unpacked logs.tgz of a call

A row for each step that ended, with its seconds, then a row for each row that a step wrote, and what the tests said. Later calls bring the rows of earlier ones along: each is kept once.
A run is told by its last epoch; a call that was made to go on after the plan has a folder like the others."""
import json,re,sys
from pathlib import Path
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import write

def seconds_of_steps(log):
    "Step -> seconds and how it ended, from a plan's log; a step that ran beside another counts from its own beginning"
    began,steps = {}, {}
    for line in log.splitlines():
        found = re.match(r'\[ *(\d+) s\] (\w+): (begins|0|stopped at its limit|-?\d+)', line)
        if not found: continue
        at,step,what = int(found[1]), found[2], found[3]
        if what=='begins': began[step] = at
        else: steps[step] = dict(step=step, seconds=at-began[step], ended='well' if what=='0' else what)
    return steps

def told(step, history=None, error=None, **row):
    "A row as it is kept: an error if there is one, and of a run's history the end"
    last = history[-1] if history else {}
    return dict(step=step, **last) | row | (dict(error=error) if error else {})

def main(name, *folders):
    steps,rows = {}, {}
    for folder in map(Path, folders):
        steps |= seconds_of_steps((folder/'plan.log').read_text())
        rows |= {o.stem:json.loads(o.read_text()) for o in sorted(folder.glob('*.json'))}
        if (folder/'log'/'tests.log').exists(): rows['tests'] = [dict(said=(folder/'log'/'tests.log').read_text().splitlines())]
    facts, = rows.pop('facts')
    machine = dict(gpu=facts['gpu'], cores=facts['cores'], **facts['versions'])
    found = [told(step, **row) for step,of_step in rows.items() for row in of_step]
    write(name, machine, [*steps.values(), *found], commit=facts['commit'])

if __name__=='__main__': main(*sys.argv[1:])
