"""The steps of `plan.py`, each a command: python benchmarks/gpu/steps.py NAME ARGUMENT...

What a step finds is printed and written to WORK/NAME.json row by row, so that a step that is stopped has said what it knew."""
import dataclasses,json,os,sys,time,traceback
from pathlib import Path
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import torch
from simpleattn.recipes import derive,load_recipes

WORK = Path(os.environ['GPU_WORK'])
DRY = bool(os.environ.get('GPU_DRY'))
DEV = 'cpu' if DRY else 'cuda'
QUESTION = json.loads((WORK/'stash'/'question.json').read_text()) # plan.py's: the study's name, its recipe, arms and seeds
TINY = dict(dataset='photos', source='full', split='v2', size=32, val_extra=8, backbone='xresnet18', widen=.125, stem=(8,8,64), epochs=1, bs=16, precision='float32')

def mode(): # compiled, eager
    "What `smoke` found to work"
    return (WORK/'stash'/'mode').read_text()

def recipe(compiled=None, precision='bfloat16', **changes):
    "The question's recipe in its fast form; tiny in a dry run"
    compiled = mode()=='compiled' if compiled is None else compiled
    r = derive(load_recipes()[QUESTION['recipe']], precision=precision, compile=compiled)
    if DRY: r = dataclasses.replace(r, **TINY, compile=False)
    return dataclasses.replace(r, **changes)

def photos():
    "Synthetic photographs of ten classes, for what needs no real ones"
    from input import photographs
    path = WORK/'photos'
    if not path.is_dir(): photographs(path, 64 if DRY else 1280)
    return str(path)

def on_photos(**changes): return recipe(**changes, dataset='photos', source='full', split='v2', epochs=1)

rows = []
def note(name, **row):
    "Print a row and keep it"
    rows.append(row)
    print(row, flush=True)
    (WORK/f'{name}.json').write_text(json.dumps(rows, indent=1)+'\n')

def timed(f):
    began = time.perf_counter()
    result = f()
    return round(time.perf_counter()-began, 2), result

def train(r, variant='baseline', seed=0, data=None):
    from simpleattn.train import train_one
    return train_one(r, variant, seed, data, device=DEV)

# ---- call A

def facts():
    "The machine and the versions"
    from simpleattn.runs import code_commit,machine_facts,this_env
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    note('facts', gpu=gpu, cores=os.cpu_count(), env=this_env(), commit=code_commit(), versions=machine_facts(gpu or 'cpu', 1)['versions'])
    if not (gpu or DRY): sys.exit('There is no GPU.')

def tests():
    "The tests that need a GPU, but the two that compile most"
    choice = 'variant or crops or computes or loader or stay'
    # nothing is compiled; yet this process waited for compilers when it ended, on torch 2.11
    env = {**os.environ, 'CUDA_VISIBLE_DEVICES':os.environ.get('CUDA_VISIBLE_DEVICES', '0'), 'TORCHINDUCTOR_COMPILE_THREADS':'1'}
    os.execve(sys.executable, [sys.executable, '-m', 'pytest', 'tests/test_gpu.py', '-q', '--maxfail=8', '-rfE', '-p', 'no:cacheprovider', '-k', choice, '--tb=line'], env)

def smoke():
    "Does the path that all else takes work? Eager and compiled, two seeds, on the embedded images; decides the mode of the steps after it"
    from torch._dynamo.utils import counters
    demo = dataclasses.replace(load_recipes()['demo'], name='smoke', epochs=1, bs=64, precision='float32' if DRY else 'bfloat16')
    if DRY: demo = dataclasses.replace(demo, widen=.125, stem=(8,8,64))
    def one(what, r, variant, seed): # training loss, None where it failed
        try: seconds,run = timed(lambda: train(r, variant, seed))
        except Exception as e:
            traceback.print_exc()
            note('smoke', what=what, error=f'{type(e).__name__}: {e}'[:300])
            return None
        note('smoke', what=what, status=run.status, loss=run.history[0]['train_loss'], seconds=seconds, pipeline=run.pipeline, lean=run.machine.get('lean'))
        return run.history[0]['train_loss']
    eager = one('eager', demo, 'simple', 0)
    if not DRY: one('eager float16', dataclasses.replace(demo, precision='float16'), 'baseline', 0)
    compiled = dataclasses.replace(demo, name='smoke-compiled', compile=not DRY)
    counters.clear()
    losses = [one(f'compiled, seed {seed}', compiled, 'simple', seed) for seed in (0,1)]
    works = None not in (eager, *losses) and abs(losses[0]-eager)<.05*eager
    found = 'compiled' if works else 'none' if eager is None else 'eager'
    skipped = {k:v for k,v in counters['inductor'].items() if 'cudagraph' in k}
    note('smoke', mode=found, graphs=counters['stats'].get('unique_graphs'), graph_breaks=dict(counters['graph_break']), cudagraphs_skipped=skipped)
    (WORK/'stash'/'mode').write_text(found)
    if found=='none': sys.exit('Nothing trains.')

def run_tasks(engine, tasks, more=lambda: None):
    "Give an engine tasks and yield each as it has ended, its `Run` beside it; `more()` gives a further task, or None"
    from simpleattn.runs import read_run,run_path
    for task in tasks: engine.submit(task)
    at_work = len(tasks)
    try:
        while at_work:
            ended = engine.next()
            at_work -= 1
            arm,seed = ended.task.arm,ended.task.seed
            path = Path(ended.task.root)/run_path(arm.recipe.name, arm.variant.name, ended.task.machine.env, seed)
            yield ended, read_run(path) if path.exists() else None
            if task := more():
                engine.submit(task)
                at_work += 1
    finally: engine.close()

def engine(workers, compiled):
    from simpleattn.engines import make_engine
    return make_engine('local', workers=workers, gpus=None if DRY else ['0'], compiled=compiled)

def task(r, variant, seed, root, data):
    from simpleattn.engines import Task
    from simpleattn.runs import Machine
    from simpleattn.variants import read_arm
    return Task(read_arm(variant, r), seed, Machine(DEV, data=str(data)).absolute(), str(WORK/root))

def warm():
    "Compile every arm at once, each in its worker, on made photographs: call B finds the kernels in the cache"
    arms = QUESTION['arms']
    r,data = on_photos(name='warm'), photos()
    tasks = [task(r, arm, seed, 'warm', data) for seed in range(3) for arm in arms]
    began = time.perf_counter()
    for ended,run in run_tasks(engine(len(arms), len(arms)), tasks):
        note('warm', arm=ended.task.arm.variant.name, seed=ended.task.seed, how=ended.how, seconds=run and run.wall_seconds,
            at=round(time.perf_counter()-began, 1), error=ended.error[-1500:])

def solo():
    "One process alone: milliseconds of a step in each form, and what a compiled step is made of"
    from simpleattn import train as library
    torch.set_num_threads(1)
    forms = {'compiled bfloat16':dict(compiled=True)} if mode()=='compiled' and not DRY else {}
    forms['eager bfloat16'] = dict(compiled=False)
    if not DRY: forms['eager float16'] = dict(compiled=False, precision='float16')
    for name,changes in forms.items():
        r = on_photos(**changes, name='solo')
        for seed in range(3):
            made,learn = timed(lambda: library.get_learner(r, 'baseline', seed, photos(), device=DEV, reuse=True))
            with learn.no_bar(), learn.no_logging(): library.fit_recipe(learn, r)
            note('solo', form=name, seed=seed, seconds_to_make=made, ms_a_step=round(1e3*learn.record_correct.seconds/len(learn.dls.train), 2))
        if name==next(iter(forms)): note('solo', form=name, **profile(learn, r))
        library.forget_compiled()

def profile(learn, r):
    "Kernels and milliseconds of the device in a step; the table of kernels goes to log/profile.txt"
    from torch.profiler import ProfilerActivity,profile as profiled
    kinds = [ProfilerActivity.CPU] + ([] if DRY else [ProfilerActivity.CUDA])
    with profiled(activities=kinds) as p:
        with learn.no_bar(), learn.no_logging(): learn.fit(1)
    key = 'self_cpu_time_total' if DRY else 'self_device_time_total'
    (WORK/'log'/'profile.txt').write_text(p.key_averages().table(sort_by=key, row_limit=60, max_name_column_width=70))
    kernels = [e for e in p.events() if str(e.device_type).endswith('CUDA')]
    n = len(learn.dls.train)
    return dict(kernels_a_step=round(len(kernels)/n, 1), device_ms_a_step=round(sum(e.device_time for e in kernels)/1e3/n, 3))

def short(seconds=35):
    "Layers at the sizes of training, and the candidates for local attention; each row by itself, so that one failure costs itself"
    import layers,local_forms,torch._inductor.config
    from common import side_by_side
    from fastai.layers import SelfAttention as FastaiSelf, SimpleSelfAttention as FastaiSimple
    from simpleattn.attention import SelfAttention,SimpleSelfAttention
    from simpleattn.local import LocalSelfAttention
    torch.set_num_threads(1)
    ends = time.perf_counter()+float(seconds)
    torch._inductor.config.compile_threads = 1 # a process waited for its compilers when it ended, on torch 2.11
    bs,dtype = (2,torch.float32) if DRY else (64,torch.bfloat16)
    def layer(ours, theirs, channels, positions):
        x = layers.image(bs, channels, int(positions**.5))
        ms = side_by_side(layers.pair(ours(channels), theirs(channels), x), 5, .02)
        return dict(what=ours.__name__, channels=channels, positions=positions, batch=bs, ms=ms)
    def local(channels, side):
        layer,x = LocalSelfAttention(channels).to(DEV, dtype), torch.randn(bs, channels, side, side, device=DEV, dtype=dtype, requires_grad=True)
        names = [o for o in local_forms.FORMS if not (DRY and o in ('flex','triton'))]
        differs = {o:local_forms.check(o, layer, x)[0] for o in names}
        ms = side_by_side({o:lambda o=o: local_forms.gradients(local_forms.FORMS[o], layer, x) for o in names}, 5, .05)
        return dict(what='local', channels=channels, side=side, batch=bs, differs=differs, ms=ms)
    def simple(channels): return FastaiSimple(channels, ks=1)
    sizes = [(16,64)] if DRY else [(256,1024),(64,1024),(512,256)]
    cases = [(layer, ours, theirs, *size) for size in sizes for ours,theirs in ((SimpleSelfAttention,simple),(SelfAttention,FastaiSelf))]
    cases += [(local, *o) for o in ([(16,8)] if DRY else [(64,32),(128,16),(256,8)])]
    for f,*arguments in cases:
        if time.perf_counter()>ends:
            note('short', left_out=str(arguments))
            continue
        try: row = f(*arguments)
        except Exception as e: row = dict(of=str(arguments), error=f'{type(e).__name__}: {e}'[:300])
        note('short', **row)

# ---- call B

def decode(data):
    "Every image decoded by all cores into the library's own cache; the library alone would take one core"
    from multiprocessing import get_context
    from simpleattn import data as library
    r = recipe()
    path = library.get_path(r.dataset, r.source, data)
    files = [path/o for o,_ in library.list_images(path)]
    began,decode_one = time.perf_counter(), library._decode
    with get_context('fork').Pool(os.cpu_count()) as pool:
        decoded = pool.imap(pixels, files, chunksize=32)
        library._decode = lambda path, presize: next(decoded)
        try: images = library.DecodedImages(path, r.presize)
        finally: library._decode = decode_one
    note('decode', images=len(images), mib=round(len(images.data)/2**20), seconds=round(time.perf_counter()-began, 1), fingerprint=library.fingerprint(path))

def pixels(path):
    from simpleattn.data import _decode
    return _decode(path, 0)

def study(data):
    "The question's study, as many whole seeds as the time gives"
    from simpleattn.study import Study
    arms,seeds = QUESTION['arms'], QUESTION['seeds'][:2 if DRY else None]
    made = Study(QUESTION['name'], arms, seeds, recipe=recipe(), root=WORK/'runs')
    made.run('local', len(arms), data, DEV)
    print(made.compare())

def ratio(data):
    "Seconds a run of this library and of plain fastai, at one recipe on split v2, one after another"
    from plain_fastai import plain_run
    from simpleattn.data import get_path
    r = recipe(name='ratio', split='v2')
    note('ratio', what='ours, which compiles', seconds=timed(lambda: train(r, data=data, seed=900))[0])
    for seed in (901,902): note('ratio', what='ours', seconds=timed(lambda: train(r, data=data, seed=seed))[0])
    path,loaders = get_path(r.dataset, r.source, data), 0 if DRY else 8
    torch.set_num_threads(os.cpu_count())
    plain = dataclasses.replace(r, precision='float32', compile=False)
    for what,epochs in (('plain fastai, its first epoch', 1), ('plain fastai', plain.epochs)):
        note('ratio', what=what, seconds=timed(lambda: plain_run(path, dataclasses.replace(plain, epochs=epochs), 'baseline', 901, loaders, DEV))[0])

def more(data, seconds):
    "Further seeds of the baseline, from 100, until the time is up"
    ends,workers = time.monotonic()+float(seconds), 2 if DRY else 4
    seeds = iter(range(100, 103 if DRY else 160))
    def another():
        seed = next(seeds, None)
        if seed is not None and (time.monotonic()<ends-10 or DRY): return task(recipe(), 'baseline', seed, 'runs', data)
    first = [another() for _ in range(workers)]
    for ended,run in run_tasks(engine(workers, 1), [o for o in first if o], another):
        note('more', seed=ended.task.seed, how=ended.how, acc=run and run.acc, seconds=run and run.wall_seconds, error=ended.error[-300:])

STEPS = dict(facts=facts, tests=tests, smoke=smoke, warm=warm, solo=solo, short=short, decode=decode, study=study, ratio=ratio, more=more)

if __name__=='__main__': STEPS[sys.argv[1]](*sys.argv[2:])
