"""Trainings that take a moment, note that they were started, and write true records; `import stub_train` puts them in the place of `simpleattn.train`.

A driver that sets `LocalEngine.preload = ['stub_train']` has them in its workers. STUB_LOG names a file that gets a line a start; STUB_SECONDS says how long one takes."""
import base64,os,signal,sys,time,types
from pathlib import Path
from simpleattn.runs import Run,as_root,env_name,run_path,write_run

def without_networks():
    "For a driver: no network is built before its study begins, so torch is not imported. What a stub does stands in a layer's arguments, which no network has"
    models = sys.modules['simpleattn.models'] = types.ModuleType('simpleattn.models')
    models.check_networks = lambda arms: None

def stub_run(recipe, variant, seed, env=None, **kw):
    "A true record of a training that never was: the accuracy is made of the seed and the variant's name"
    right = round(kw['acc']*10) if kw.get('acc') is not None else (seed*7 + len(variant.name))%9
    correct = base64.b64encode(((2**right-1)<<(16-right)).to_bytes(2, 'big')).decode()
    d = dict(recipe=recipe.to_dict(), recipe_hash=recipe.hash, variant=variant.to_dict(), env=env or env_name('cpu'), seed=seed, status='ok', acc=right/10,
        best_acc=right/10, best_epoch=1,
        n_images=10, correct=correct, history=[dict(train_loss=1., valid_loss=1., acc=right/10)], params=7, train_seconds=1., wall_seconds=2.,
        data=dict(dataset='tiny', source='full', fingerprint='0'*12, n_train=20, n_val=kw.get('n_images', 10)), machine=dict(finished='2026-01-01T00:00:00Z', device='cpu'))
    return Run(**{**d, **kw})

def train_arm(arm, seed=0, machine=None, root=None, progress=False, cbs=None):
    variant = arm.variant
    at = as_root(root)/run_path(arm.recipe.name, variant.name, env_name('cpu'), seed)
    if at.exists(): raise FileExistsError(at)
    with open(os.environ['STUB_LOG'], 'a') as f: f.write(f"{variant.name} {seed} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES') or '-'}\n")
    does = variant.kwargs.get('does')
    if does=='dies':
        print('last words', flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if does=='raises': raise RuntimeError('this one always raises')
    if does=='dies-once' and not Path(variant.kwargs['mark']).exists():
        Path(variant.kwargs['mark']).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(os.environ.get('STUB_SECONDS', .05)))
    run = stub_run(arm.recipe, variant, seed)
    write_run(run, root)
    if does=='dies-late': os.kill(os.getpid(), signal.SIGKILL) # the record is out, the answer is not
    return run
