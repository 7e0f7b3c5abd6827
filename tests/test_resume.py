"""A run that was stopped goes on from its last epoch, bit for bit on a CPU; a checkpoint is data and never code"""
import os,pickle,shutil,signal
from pathlib import Path
import pytest,torch
from fastai.callback.core import Callback
from fastcore.script import CliError
from simpleattn.recipes import derive
from simpleattn.runs import Parked,find_runs,this_env
from simpleattn.study import Study
from simpleattn.train import train_one
from simpleattn.variants import Variant
from test_engines import failures

@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

class Stopped(Exception): pass

class Stop(Callback):
    "Stops a run in the middle of an epoch, as a kill would"
    order,observes = 61,True
    def __init__(self, epoch): self.at,self.trained = epoch,[]
    def after_batch(self):
        if not self.training: return
        self.trained.append(self.epoch)
        if self.epoch==self.at and self.iter==2: raise Stopped('in the middle')

def facts(run): return run.weights, run.history, run.acc, run.correct, run.best_acc, run.best_epoch, run.status
def checkpoint(p): return list(Path(p).rglob('*.pt'))

@pytest.mark.parametrize('loaders', [0,2])
@pytest.mark.parametrize('sched', ['one-cycle','flat-cos'])
def test_a_resumed_run_is_bit_for_bit_an_undisturbed_one(recipe, tiny, tmp_path, sched, loaders):
    "Stopped in epoch 1 and again in epoch 2, of three"
    r = derive(recipe, sched=sched, epochs=3, mixup=.2)
    want = train_one(r, 'simple', 3, tiny, loaders, 'cpu')
    for at in (1,2):
        stop = Stop(at)
        with pytest.raises(Stopped): train_one(r, 'simple', 3, tiny, loaders, 'cpu', cbs=[stop], checkpoints='ck', root='runs')
        assert stop.trained[0]==at-1 and len(checkpoint('ck'))==1, 'the second time, the first epoch is not trained again'
    cb = Stop(99)
    got = train_one(r, 'simple', 3, tiny, loaders, 'cpu', cbs=[cb], checkpoints='ck', root='runs')
    assert set(cb.trained)=={2} and facts(got)==facts(want) and checkpoint('ck')==[] and got.train_seconds>0
    assert len(got.history)==3 and facts(find_runs('runs')[0][0])==facts(want)

@pytest.mark.parametrize('opt', ['adam-published','ranger','ralamb','over9000','over9000-published','novograd','novograd-published','rms','sgd'])
def test_every_optimisers_state_is_restored(recipe, tiny, opt):
    r = derive(recipe, opt=opt, lr=1e-3, epochs=2)
    with pytest.raises(Stopped): train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[Stop(1)], checkpoints='ck')
    assert facts(train_one(r, 'baseline', 0, tiny, device='cpu', checkpoints='ck'))==facts(train_one(r, 'baseline', 0, tiny, device='cpu'))

def test_a_run_stopped_after_its_last_epoch_only_writes_its_record(recipe, tiny):
    r = derive(recipe, epochs=2)
    want = train_one(r, 'baseline', 0, tiny, device='cpu', checkpoints='ck') # no root: the checkpoint of the last epoch stays
    cb = Stop(99)
    assert facts(train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[cb], checkpoints='ck', root='runs'))==facts(want) and cb.trained==[]

def test_half_precision_resumes_with_its_scale(recipe, tiny):
    r = derive(recipe, precision='float16', epochs=2)
    with pytest.raises(Stopped): train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[Stop(1)], checkpoints='ck')
    assert facts(train_one(r, 'baseline', 0, tiny, device='cpu', checkpoints='ck'))==facts(train_one(r, 'baseline', 0, tiny, device='cpu'))

def test_without_the_flag_nothing_is_kept(recipe, tiny, tmp_path):
    with pytest.raises(Stopped): train_one(derive(recipe, epochs=2), 'baseline', 0, tiny, device='cpu', cbs=[Stop(1)])
    assert checkpoint(tmp_path)==[]

def test_a_checkpoint_of_another_run_is_not_used(recipe, tiny):
    r = derive(recipe, 'one', epochs=2)
    with pytest.raises(Stopped): train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[Stop(1)], checkpoints='ck')
    other,cb = derive(recipe, 'one', epochs=2, lr=1e-4),Stop(99)
    assert facts(train_one(other, 'baseline', 0, tiny, device='cpu', cbs=[cb], checkpoints='ck'))==facts(train_one(other, 'baseline', 0, tiny,
        device='cpu')) and cb.trained[0]==0

class Evil:
    "Makes a file when it is unpickled"
    def __reduce__(self): return Path.touch, (Path('it-ran'),)

BAD = {'a crafted pickle':lambda p: p.write_bytes(pickle.dumps(Evil())), 'a crafted checkpoint':lambda p: torch.save(dict(key=Evil()), p),
    'a cut file':lambda p: os.truncate(p, p.stat().st_size//2),
    'an empty file':lambda p: p.write_bytes(b''), 'another thing':lambda p: torch.save([1,2], p)}

@pytest.mark.parametrize('how', BAD)
def test_a_bad_checkpoint_does_not_run_is_kept_aside_and_the_run_begins_anew(recipe, tiny, tmp_path, capsys, how):
    r = derive(recipe, epochs=2)
    with pytest.raises(Stopped): train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[Stop(1)], checkpoints='ck')
    p, = checkpoint('ck')
    BAD[how](p)
    cb = Stop(99)
    got = train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[cb], checkpoints='ck', root='runs')
    assert cb.trained[0]==0 and facts(got)==facts(train_one(r, 'baseline', 0, tiny, device='cpu')) and not Path('it-ran').exists()
    assert 'loaded safely' in capsys.readouterr().err and p.with_suffix('.corrupt').exists()

def flip(p, at):
    "64 bytes of it, in the weights or elsewhere"
    content = bytearray(p.read_bytes())
    start = int(at*(len(content)-64))
    for k in range(start, start+64): content[k] ^= 0x10
    p.write_bytes(content)

def again(change, p):
    "The same checkpoint with other content, sealed as ours are"
    import io
    from simpleattn.train import _check_sum,_sum_length
    state = torch.load(io.BytesIO(p.read_bytes()[:-_sum_length]), weights_only=True)
    change(state)
    made = io.BytesIO()
    torch.save(state, made)
    p.write_bytes(made.getvalue()+_check_sum(made.getvalue()))

def another_network(d): d['model'] = {f'x.{k}':v for k,v in d['model'].items()}
def another_shape(d): d['model'] = {k:v[:1] if v.dim() else v for k,v in d['model'].items()}
def fewer_states(d): d['opt']['state'] = d['opt']['state'][:3]
DAMAGED = {**{f'bytes flipped at {at:.0%}':lambda p, at=at: flip(p, at) for at in (0,.2,.5,.8,.95,1)}, 'without its checksum':lambda p: p.write_bytes(p.read_bytes()[:-71]),
    **{f.__name__:lambda p, f=f: again(f, p) for f in (another_network,another_shape,fewer_states)},
    'no weights':lambda p: again(lambda d: d.pop('model'), p), 'a later epoch':lambda p: again(lambda d: d.update(epoch=7), p), 'epochs that are missing':lambda p: again(lambda d: d.update(right=[]), p)}

def holds(*path, is_now):
    "A checkpoint that says something else in one place"
    def change(state):
        for part in path[:-1]: state = state[part]
        state[path[-1]] = is_now(state[path[-1]]) if callable(is_now) else is_now
    return lambda p: again(change, p)

NAN = float('nan')
DAMAGED |= {f"{' '.join(map(str, path))} {k}":holds(*path, is_now=o) for *path,values in [
    ('wall',[-1e9,NAN,'x',None]), ('seconds',[-1e9,NAN,'x',None]), ('epoch',[True,1.,'1']), ('smooth',[[1,'x'],[0,None],[-1,torch.tensor(0.)],[1],'x']),
    ('right',0,[lambda o: o[:5],lambda o: o.float(),[1,2],'x']), ('recorded','values',[[[1.]],[['a','b','c']],'x',[1]]), ('recorded','losses',['x',['x'],[torch.zeros(2)],None]), ('recorded','lrs',[[None],[NAN],3]), ('recorded','iters',[['x'],None]),
    ('recorded',[[],{}]), ('added',[[1],{'x':[1]},{'x':{'run':[]}},None]), ('scaler',[{'a':1},'x']),
    ('opt','hypers',[lambda h: [{k:'x' for k in o} for o in h], lambda h: [dict(o, eps=-1.) for o in h], lambda h: [dict(o, wd=9.) for o in h], lambda h: [dict(o, mom=NAN) for o in h], lambda h: [{'lr':.1} for o in h], [], None]),
    ('opt','state',[lambda o: [{} for _ in o], lambda o: [{}, *o[1:]], lambda o: [dict(s, step=-1) for s in o], lambda o: [dict(s, step='x') for s in o], lambda o: [dict(s, grad_avg=s['grad_avg'][:1]) for s in o], lambda o: o[:1], None]),
    ('model',[lambda o: {k:v.double() for k,v in o.items()}, None])] for k,o in enumerate(values)}

def stopped(recipe, tiny, where='ck'):
    "The checkpoint of a run that was stopped in its second epoch of two"
    r = derive(recipe, epochs=2)
    with pytest.raises(Stopped): train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[Stop(1)], checkpoints=where)
    return r, *checkpoint(where)

@pytest.fixture(scope='module')
def two_epochs(recipe, tiny, tmp_path_factory):
    "The folder of checkpoints of a run that was stopped in its second epoch of two, and the facts of the undisturbed run"
    kept = tmp_path_factory.mktemp('stopped')
    r,_ = stopped(recipe, tiny, kept)
    return r, kept, facts(train_one(r, 'baseline', 0, tiny, device='cpu'))

@pytest.mark.parametrize('how', DAMAGED)
def test_a_checkpoint_that_is_damaged_or_does_not_fit_is_set_aside_once_and_never_becomes_a_record(two_epochs, tiny, capsys, how):
    r,kept,want = two_epochs
    shutil.copytree(kept, 'ck')
    p, = checkpoint('ck')
    DAMAGED[how](p)
    cb = Stop(99)
    got = train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[cb], checkpoints='ck', root='runs')
    assert cb.trained[0]==0 and facts(got)==want
    assert 'kept as 0.corrupt' in capsys.readouterr().err and p.with_suffix('.corrupt').exists()

def test_a_checkpoint_is_read_however_large_its_network_is(recipe, tiny, monkeypatch):
    r,p = stopped(recipe, tiny)
    monkeypatch.setattr('simpleattn.files.most_bytes', p.stat().st_size//2)
    cb = Stop(99)
    train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[cb], checkpoints='ck')
    assert set(cb.trained)=={1}

@pytest.mark.parametrize('taken', ['a folder that holds something','a file'])
def test_what_is_set_aside_takes_a_free_name(recipe, tiny, capsys, taken):
    r,p = stopped(recipe, tiny)
    flip(p, .5)
    there = p.with_suffix('.corrupt')
    kept = there/'mine' if 'folder' in taken else there
    kept.parent.mkdir(exist_ok=True)
    kept.write_text('mine')
    train_one(r, 'baseline', 0, tiny, device='cpu', checkpoints='ck', root='runs')
    assert kept.read_text()=='mine' and p.with_suffix('.2.corrupt').is_file() and 'kept as 0.2.corrupt' in capsys.readouterr().err

@pytest.mark.parametrize('what', ['a pipe','a folder','a link'])
def test_what_is_no_plain_file_in_a_checkpoints_place_is_one_line(recipe, tiny, what):
    r,p = stopped(recipe, tiny)
    p.rename('before')
    {'a pipe':lambda: os.mkfifo(p), 'a folder':p.mkdir, 'a link':lambda: p.symlink_to(Path('before').resolve())}[what]()
    with pytest.raises(CliError) as e: train_one(r, 'baseline', 0, tiny, device='cpu', checkpoints='ck', root='runs')
    assert p.name in str(e.value) and '\n' not in str(e.value) and 'Exception occured' not in str(e.value)

def test_a_checkpoint_that_cannot_be_read_now_is_left_where_it_is(recipe, tiny, tmp_path, monkeypatch):
    r = derive(recipe, epochs=2)
    with pytest.raises(Stopped): train_one(r, 'baseline', 0, tiny, device='cpu', cbs=[Stop(1)], checkpoints='ck')
    p, = checkpoint('ck')
    def fails(path, *args):
        if str(path).endswith('.pt'): raise OSError(5, 'Input/output error')
        return open(path, *args)
    monkeypatch.setattr('simpleattn.files.pauses', (.001,))
    monkeypatch.setattr('simpleattn.files.open', fails, raising=False)
    with pytest.raises(CliError, match='cannot be read now'): train_one(r, 'baseline', 0, tiny, device='cpu', checkpoints='ck', root='runs')
    assert checkpoint('ck')==[p] and find_runs('runs')[0]==[]

class FolderInPlace(Callback):
    "A checkpoint that cannot be removed"
    observes = True
    def after_fit(self):
        p, = checkpoint('ck')
        p.unlink(); p.mkdir()

def test_a_checkpoint_that_cannot_be_removed_costs_the_record_nothing(recipe, tiny, capsys):
    run = train_one(recipe, 'baseline', 0, tiny, device='cpu', cbs=[FolderInPlace()], checkpoints='ck', root='runs')
    assert find_runs('runs')[0]==[run] and 'baseline/' in capsys.readouterr().err.partition('cannot be removed')[0]

@pytest.mark.parametrize('why', ['it is there','it waits'])
def test_a_run_that_has_a_record_elsewhere_keeps_no_checkpoint(recipe, tiny, tmp_path, monkeypatch, why):
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path/'state'))
    class Meanwhile(Callback):
        observes = True
        def after_fit(self):
            if why=='it waits': shutil.rmtree('runs'); Path('runs').write_text('a file')
            else: train_one(recipe, 'baseline', 0, tiny, device='cpu', root='runs')
    with pytest.raises(Parked if why=='it waits' else FileExistsError):
        train_one(recipe, 'baseline', 0, tiny, device='cpu', cbs=[Meanwhile()], checkpoints='ck', root='runs')
    assert checkpoint('ck')==[]

def test_the_folder_of_checkpoints_may_begin_with_a_tilde(recipe, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    for _ in range(2): train_one(recipe, 'baseline', 0, tiny, device='cpu', checkpoints='~/ck')
    assert len(checkpoint(tmp_path/'home'/'ck'))==1

@pytest.mark.parametrize('what', ['study','train'])
def test_half_a_checkpoint_is_tidied_where_a_study_or_a_run_begins(recipe, tiny, settings, tmp_path, monkeypatch, what):
    from simpleattn import cli,train
    def begins(*args, **kwargs): raise CliError('enough')
    monkeypatch.setattr(train, 'train_arm', begins)
    monkeypatch.setenv('HOME', str(tmp_path))
    left = tmp_path/'ck'/'a'/'.0.pt-999999999-0123abcd.tmp'
    left.parent.mkdir(parents=True); left.touch()
    if what=='study':
        with pytest.raises(CliError, match='enough'): Study('s', ['baseline','simple'], 2, recipe=recipe, root='runs').run('serial', data=tiny, device='cpu', checkpoints='~/ck')
    else: assert cli.main(['train', 'tiny', '--settings', str(settings), '--data', str(tiny), '--device', 'cpu', '--checkpoints', '~/ck'])
    assert not left.exists()

def test_the_crafted_pickle_would_run_where_loading_is_not_safe(tmp_path):
    BAD['a crafted checkpoint'](tmp_path/'evil.pt')
    torch.load(tmp_path/'evil.pt', weights_only=False)
    assert Path('it-ran').exists()

def test_a_full_disk_costs_the_checkpoint_and_not_the_run(recipe, tiny, capsys):
    Path('ck').write_text('a file in the place of the folder')
    assert train_one(derive(recipe, epochs=2), 'baseline', 0, tiny, device='cpu', checkpoints='ck').status in ('ok','diverged')
    assert 'No checkpoint' in capsys.readouterr().err

KILLED = '''
import os,signal
from pathlib import Path
from torch import nn
class Dies(nn.Module):
    "Kills its process in the middle of its third epoch, once"
    def __init__(self, ni, mark): super().__init__(); self.conv,self.mark,self.n = nn.Conv2d(ni, ni, 1),mark,0
    def forward(self, x):
        self.n += self.training
        with open(self.mark+'-batches', 'a') as f: f.write('x'*self.training)
        if self.n==15 and not Path(self.mark).exists(): Path(self.mark).touch(); os.kill(os.getpid(), signal.SIGKILL)
        return x + .1*self.conv(x)
'''

@pytest.mark.slow
def test_a_killed_worker_goes_on_from_its_checkpoint(recipe, tiny, tmp_path):
    (tmp_path/'dies.py').write_text(KILLED)
    r = derive(recipe, epochs=4)
    def runs(root, **kw):
        (tmp_path/root).mkdir()
        v = Variant('dies', f"{tmp_path/'dies.py'}:Dies", kwargs=dict(mark=str(tmp_path/root/'mark')))
        if not kw: (tmp_path/root/'mark').touch()
        Study('s', ['baseline',v], 2, recipe=r, root=tmp_path/root/'runs', env=this_env('cpu')).run('local', 1, tiny, 'cpu', progress=False, **kw)
        return {x.path:facts(x) for x in find_runs(tmp_path/root/'runs')[0]}, len((tmp_path/root/'mark-batches').read_text())
    (got,n),(want,m) = runs('killed', checkpoints=tmp_path/'ck'), runs('still')
    assert got==want and len(got)==4 and len(failures(tmp_path/'killed'/'runs'))==1
    assert m==48 and n==48+3, 'of four epochs of six batches, the half that was lost was made again'
