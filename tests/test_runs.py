"""Records: sealed, written once, and never believed blindly"""
import dataclasses,json,multiprocessing as mp,os,shutil,subprocess,sys
from pathlib import Path
import numpy as np, pytest
from conftest import ROOT,run_process
from fastcore.script import CliError
from simpleattn.recipes import Recipe
from simpleattn.runs import Machine,Run,arm_runs,env_name,find_runs,last_failure,load_runs,pack_bits,read_run,run_path,set_aside,this_env,unpack_bits,write_failure,write_run
from simpleattn.variants import get_variant,read_arm

ENV = 'cpu-torch2.15'

def a_run(seed=0, variant='baseline', recipe='tiny', env=ENV, acc=.5, status='ok', **kw):
    r = recipe if isinstance(recipe, Recipe) else Recipe(recipe)
    bits = np.arange(10)<round((acc or 0)*10)
    d = dict(recipe=r.to_dict(), recipe_hash=r.hash, variant=get_variant(variant).to_dict(), env=env, seed=seed, status=status, acc=acc, best_acc=acc,
        best_epoch=1,
        n_images=10, correct=pack_bits(bits) if acc is not None else '', history=[dict(train_loss=1., valid_loss=1., acc=acc)], params=7, train_seconds=1.,
        wall_seconds=2.,
        data=dict(dataset='tiny', source='160-derived', fingerprint='0'*12, n_train=20, n_val=10), machine=dict(finished='2026-01-01T00:00:00Z'))
    d['data']['n_val'] = kw.get('n_images', 10)
    return Run(**{**d, **kw})

# ---- written once

def test_a_record_is_read_as_it_was_written(tmp_path):
    run = a_run(3, 'simple')
    p = write_run(run, tmp_path)
    assert p==tmp_path/'tiny'/'simple'/ENV/'3.json' and read_run(p, tmp_path)==run and run.path==run_path('tiny','simple',ENV,3)
    assert (read_run(p).bits()==(np.arange(10)<5)).all() and read_run(p).acc==read_run(p).bits().mean()
    assert 'sha256' in json.loads(p.read_text())

def test_a_record_is_never_overwritten(tmp_path):
    p = write_run(a_run(), tmp_path)
    before = p.read_bytes()
    with pytest.raises(FileExistsError): write_run(a_run(acc=.6), tmp_path)
    assert p.read_bytes()==before and [o.name for o in p.parent.iterdir()]==['0.json']

def _race(root, start, q, n):
    start.wait()
    try: write_run(a_run(acc=n/10), root); q.put(n)
    except FileExistsError: q.put(None)

def test_of_racing_writers_one_wins_and_the_record_is_its_own(tmp_path):
    ctx = mp.get_context('fork')
    for k in range(5):
        start,q = ctx.Event(),ctx.Queue()
        ps = [ctx.Process(target=_race, args=(tmp_path/str(k), start, q, n)) for n in range(8)]
        for p in ps: p.start()
        start.set()
        won = [o for o in (q.get(timeout=60) for _ in ps) if o is not None]
        for p in ps: p.join()
        good,bad = find_runs(tmp_path/str(k))
        assert len(won)==1 and [r.acc for r in good]==[won[0]/10] and not bad
        assert [o.name for o in (tmp_path/str(k)/'tiny'/'baseline'/ENV).iterdir()]==['0.json']

def test_a_number_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(ValueError): write_run(a_run(wall_seconds=float('nan')), tmp_path)
    assert not [o for o in tmp_path.rglob('*') if o.is_file()]

def test_bits_are_packed_and_unpacked():
    for n in (1,7,8,9,3929):
        b = np.random.default_rng(n).random(n)<.5
        assert (unpack_bits(pack_bits(b), n)==b).all() and len(pack_bits(b))<=4*(n//8+1)//3+4
    assert unpack_bits('', 5) is None and a_run(acc=None, status='diverged').bits() is None

def test_a_diverged_run_is_a_record(tmp_path):
    write_run(a_run(acc=None, status='diverged', best_acc=None, best_epoch=None), tmp_path)
    df = load_runs(tmp_path)
    assert df.status.tolist()==['diverged'] and df.acc.isna().all() and df.correct[0] is None

# ---- failed tries

def test_failed_tries_are_numbered_and_are_not_runs(tmp_path):
    ps = [write_failure('tiny', 'simple', ENV, 4, f'error {k}', tmp_path) for k in range(3)]
    assert [p.name for p in ps]==['4.failed-1.json','4.failed-2.json','4.failed-3.json'] and json.loads(ps[1].read_text())['error']=='error 1'
    assert find_runs(tmp_path)==([],{}) and len(load_runs(tmp_path))==0
    write_run(a_run(4, 'simple'), tmp_path)
    assert len(load_runs(tmp_path))==1

def test_records_set_aside_are_numbered_and_are_not_runs(tmp_path):
    for k in (1,2):
        p = write_run(a_run(), tmp_path)
        p.write_text('broken')
        assert set_aside(p)==p.with_name(f'0.corrupt-{k}.json') and not p.exists()
    assert find_runs(tmp_path)==([],{})

# ---- not believed

def edit(change):
    def f(p):
        d = json.loads(p.read_text())
        change(d)
        p.write_text(json.dumps(d))
    return f

def seal(d):
    from simpleattn.runs import _seal
    d.pop('sha256', None)
    d['sha256'] = _seal(d)

def newer(d): d['schema'] = 2; seal(d)
def field_more(d): d['colour'] = 'blue'; seal(d)
def field_less(d): del d['params']; seal(d)
def move(p): (p.parent/'9.json').write_bytes(p.read_bytes()); p.unlink(); return p.parent/'9.json'
def move_arm(p): q = p.parents[2]/'simple'/ENV; q.mkdir(parents=True); shutil.move(p, q/p.name); return q/p.name

DAMAGE = {'accuracy':(edit(lambda d: d.update(acc=.9)),'checksum'), 'seed':(edit(lambda d: d.update(seed=5)),'checksum'),
    'recipe':(edit(lambda d: d['recipe'].update(lr=1)),'checksum'),
    'no seal':(edit(lambda d: d.pop('sha256')),'checksum'), 'truncated':(lambda p: os.truncate(p, 500),'JSON'), 'empty':(lambda p: p.write_text(''),'JSON'),
    'binary':(lambda p: p.write_bytes(b'\xff\xfe\x00'),'JSON'), 'a list':(lambda p: p.write_text('[]'),'not a record'),
    'newer schema':(edit(newer),'newer schema'),
    'unknown field':(edit(field_more),'fields'), 'missing field':(edit(field_less),'fields'), 'another seed':(move,'0.json'),
    'another arm':(move_arm,'baseline')}

@pytest.mark.parametrize('how', DAMAGE)
def test_a_record_that_cannot_be_believed_is_named_left_in_place_and_not_counted(tmp_path, how):
    write_run(a_run(1), tmp_path)
    p = write_run(a_run(0), tmp_path)
    f,says = DAMAGE[how]
    p = Path(f(p)) if how.startswith('another') else (f(p), p)[1]
    df = load_runs(tmp_path)
    assert df.seed.tolist()==[1] and list(df.attrs['corrupt'])==[p.as_posix()] and says in df.attrs['corrupt'][p.as_posix()]
    assert p.exists()
    with pytest.raises(ValueError, match=says): read_run(p, tmp_path)

def test_links_are_not_followed(tmp_path):
    p = write_run(a_run(0), tmp_path/'else')
    q = tmp_path/'runs'/'tiny'/'baseline'/ENV
    q.mkdir(parents=True)
    (q/'0.json').symlink_to(p)
    with pytest.raises(CliError, match='0.json is a link'): load_runs(tmp_path/'runs')

def test_what_is_not_a_record_is_not_read(tmp_path):
    p = write_run(a_run(0), tmp_path)
    (tmp_path/'_studies').mkdir(); (tmp_path/'_studies'/'s.json').write_text('{}')
    q = tmp_path/'_reports'/'s'/'x'; q.mkdir(parents=True); (q/'0.json').write_text('{}')
    (p.parent/'0.json-x.tmp').write_text('half'); (tmp_path/'notes.json').write_text('{}')
    df = load_runs(tmp_path)
    assert len(df)==1 and df.attrs['corrupt']=={}

# ---- the table

@pytest.fixture(scope='module')
def root(tmp_path_factory):
    p = tmp_path_factory.mktemp('runs')
    for v in ('simple','baseline'):
        for s in (10,9,0): write_run(a_run(s, v, acc=.5+.1*(v=='simple')), p)
    write_run(a_run(0, env='nvidia-h100-torch2.15'), p)
    write_run(a_run(1, recipe='other', acc=None, status='diverged'), p)
    return p

def test_every_run_is_one_row_in_order(root):
    df = load_runs(root)
    assert list(zip(df.recipe, df.variant, df.env, df.seed))==[('other','baseline',ENV,1)]+[('tiny',v,e,s) for v,e,ss in
        (('baseline',ENV,(0,9,10)), ('baseline','nvidia-h100-torch2.15',(0,)), ('simple',ENV,(0,9,10))) for s in ss]
    assert set(df.source)=={'160-derived'} and df.attrs['corrupt']=={} and df.params.tolist()==[7]*8

@pytest.mark.parametrize('filters,n', [({},8), (dict(variant='simple'),3), (dict(variant=['simple','baseline'], recipe='tiny'),7), (dict(seed=0),3),
    (dict(seed=range(10), env=ENV, recipe='tiny'),4),
    (dict(status='diverged'),1), (dict(env='nvidia-h100-torch2.15'),1), (dict(variant='none'),0), (dict(recipe_hash=Recipe('other').hash),8)])
def test_filters_choose_rows(root, filters, n): assert len(load_runs(root, **filters))==n

def test_an_unknown_filter_is_an_error(root):
    with pytest.raises(CliError, match="'colour'"): load_runs(root, colour='blue')

def test_a_folder_without_runs_is_an_empty_table(tmp_path):
    df = load_runs(tmp_path/'nowhere')
    assert len(df)==0 and 'acc' in df.columns

# ---- env

@pytest.mark.parametrize('device,starts', [('cpu','cpu-torch'), ('NVIDIA H100 80GB HBM3','nvidia-h100-80gb-hbm3-torch')])
def test_env_is_the_device_and_torchs_minor_version(device, starts):
    import importlib.metadata as m
    assert env_name(device)==starts+'.'.join(m.version('torch').split('.')[:2])

def test_the_env_on_request_of_the_cpu(): assert this_env('cpu')==env_name('cpu')

def test_a_run_cannot_be_edited():
    with pytest.raises(dataclasses.FrozenInstanceError): a_run().acc = 1.

def test_committed_records_are_believed():
    from conftest import ROOT
    good,bad = find_runs(ROOT/'runs')
    assert bad=={}
    for r in good: assert r.acc is None or r.acc==r.bits().mean()

@pytest.mark.parametrize('visible,device,name', [(None,None,'a100'), (None,'cuda:1','h100'), ('1',None,'h100'), ('1,0','cuda:1','a100'), ('GPU-b',"cuda",'h100'), ('MIG-7','cuda:0','a100')])
def test_the_env_is_that_of_the_card_that_is_meant(tmp_path, visible, device, name):
    "Where there are several: by CUDA_VISIBLE_DEVICES and by cuda:N; what nvidia-smi does not list is taken for its first"
    (tmp_path/'nvidia-smi').write_text('#!/bin/sh\ncase $1 in *uuid*) echo 0, GPU-a1, NVIDIA A100; echo 1, GPU-b2, NVIDIA H100;; *) echo 0; echo 1;; esac\n'); (tmp_path/'nvidia-smi').chmod(0o755)
    env = {k:v for k,v in os.environ.items() if k!='CUDA_VISIBLE_DEVICES'} | dict(PATH=str(tmp_path), PYTHONPATH=str(ROOT)) | (dict(CUDA_VISIBLE_DEVICES=visible) if visible else {})
    out = subprocess.run([sys.executable, '-c', f"from simpleattn.runs import this_env; print(this_env({device!r}))"], env=env, capture_output=True, text=True).stdout
    assert out.startswith(f'nvidia-{name}-torch')

def test_a_gpu_that_is_hidden_or_does_not_answer_is_none(tmp_path):
    "And a machine without git has no commit"
    (tmp_path/'nvidia-smi').write_text('#!/bin/sh\n[ "$BROKEN" ] && echo No devices were found && exit 6\ncase $1 in *uuid*) echo 0, GPU-a, NVIDIA H100;; *) echo 0;; esac\n'); (tmp_path/'nvidia-smi').chmod(0o755)
    code = "from simpleattn.runs import code_commit,gpus_here,this_env; print(this_env(), len(gpus_here()), repr(code_commit()))"
    env = {k:v for k,v in os.environ.items() if k!='CUDA_VISIBLE_DEVICES'} | dict(PATH=str(tmp_path), PYTHONPATH=str(ROOT))
    said = [subprocess.run([sys.executable, '-c', code], env=env|o, capture_output=True, text=True).stdout.split() for o in ({}, dict(CUDA_VISIBLE_DEVICES=''), dict(BROKEN='1'))]
    assert [o[1:] for o in said]==[['1',"''"],['0',"''"],['0',"''"]] and said[0][0].startswith('nvidia-h100-torch') and {o[0].split('-')[0] for o in said[1:]}=={'cpu'}

# ---- an arm's runs, wherever they stand

def test_an_arms_runs_are_found_by_their_hashes_under_an_older_spelling_too(tmp_path):
    arm = read_arm('simple@2.-1', Recipe('tiny'))
    older = dict(arm.variant.to_dict(), name='simple-at-2.-1')
    for s in (0,1): write_run(dataclasses.replace(a_run(s), variant=older), tmp_path)
    for s in (1,2): write_run(a_run(s, 'simple@2.-1', acc=.6), tmp_path)
    write_run(a_run(0, 'simple'), tmp_path)
    for k,name in enumerate(('simple-at-2.-1','simple@2.-1','simple@2.-1','simple')): write_failure('tiny', name, ENV, k//2, 'error', tmp_path)
    runs,bad,failed = arm_runs(tmp_path, arm, ENV)
    assert bad=={} and {r.seed:r.acc for r in runs}=={0:.5, 1:.6, 2:.6}, 'of a run that stands twice, the one under its own name'
    assert failed=={0:2, 1:1}, 'failed tries of either spelling, and of no other arm'
    assert arm_runs(tmp_path, arm, 'gpu')==([],{},{})

def test_a_record_that_cannot_be_believed_is_named_among_an_arms_runs(tmp_path):
    arm = read_arm('baseline', Recipe('tiny'))
    p = write_run(a_run(0), tmp_path)
    p.write_text('{}')
    assert arm_runs(tmp_path, arm, ENV)==([], {p.relative_to(tmp_path).as_posix():'checksum does not match its content'}, {})

def test_a_record_that_is_broken_does_not_hide_the_others_of_an_older_folder(tmp_path):
    arm = read_arm('simple@2.-1', Recipe('tiny'))
    older = dict(arm.variant.to_dict(), name='simple-at-2.-1')
    paths = [write_run(dataclasses.replace(a_run(s), variant=older), tmp_path) for s in (0,1)]
    paths[0].write_text('{}')
    runs,not_believed,_ = arm_runs(tmp_path, arm, ENV)
    assert [r.seed for r in runs]==[1] and [*not_believed]==[paths[0].relative_to(tmp_path).as_posix()]

def test_failed_tries_alone_in_an_older_folder_are_counted(tmp_path):
    arm = read_arm('simple@2.-1', Recipe('tiny'))
    for _ in range(2): write_failure('tiny', 'simple-at-2.-1', ENV, 4, 'error', tmp_path)
    assert arm_runs(tmp_path, arm, ENV)==([], {}, {4:2})

def test_a_record_that_was_set_aside_is_no_failed_try(tmp_path):
    set_aside(write_run(a_run(), tmp_path))
    write_failure('tiny', 'baseline', ENV, 3, 'error', tmp_path)
    assert arm_runs(tmp_path, read_arm('baseline', Recipe('tiny')), ENV)==([], {}, {3:1})

def test_a_record_whose_variant_has_no_hash_is_not_believed_and_imports_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'evil.py').write_text('raise SystemExit("imported")')
    with pytest.raises(ValueError, match='variant cannot be read'):
        dataclasses.replace(a_run(), variant=dict(name='evil', layer='evil.py:X', site='2.-1', kwargs={}, hash=''))

def test_a_study_looks_once_into_each_foreign_folder(tmp_path, monkeypatch):
    from simpleattn import runs
    from simpleattn.study import Study
    recipe = Recipe('tiny')
    for name in ('a','b','c','d'): write_run(a_run(recipe=Recipe(name, lr=1.)), tmp_path)
    for name in ('baseline','simple','self'): write_run(a_run(0, name), tmp_path)
    opened = []
    monkeypatch.setattr(runs, '_believe', lambda content, path=None, believe=runs._believe: opened.append(path) or believe(content, path))
    read = Study('s', ['baseline','simple','self'], 2, recipe=recipe, root=tmp_path, env=ENV).read()
    assert read.n_runs==3 and len([o for o in opened if not o.startswith('tiny/')])==4
    assert len(opened)<=4+2*3, 'the first record of each folder, and the runs of the study'

# ---- a machine

def test_a_machine_says_its_env_and_where_checkpoints_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    m = Machine('cpu', data='images', checkpoints='ck')
    assert m.env==this_env('cpu') and m.on_cpu and m.checkpoint('a/b/c/3.json')==Path('ck/a/b/c/3.pt') and Machine().checkpoint('x') is None
    assert m.absolute()==Machine('cpu', data=str(tmp_path/'images'), checkpoints=str(tmp_path/'ck')) and Machine().absolute()==Machine()

@pytest.mark.parametrize('wrong', [dict(threads=0), dict(loaders=-1)])
def test_a_machine_without_a_thread_is_refused(wrong):
    with pytest.raises(CliError, match='whole numbers above 0'): Machine(**wrong)


def test_the_commit_is_that_of_the_library_and_says_where_it_was_changed(tmp_path):
    shutil.copytree(ROOT/'simpleattn', tmp_path/'simpleattn', ignore=shutil.ignore_patterns('__pycache__'))
    def git(*words): return subprocess.run(['git','-c','user.name=a','-c','user.email=a@b',*words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    def said():
        code = 'from simpleattn.runs import code_commit; print(code_commit())'
        return run_process(sys.executable, '-c', code, env=dict(PYTHONPATH=str(tmp_path)), cwd=tmp_path).stdout.strip()
    git('init', '-q'); git('add', '-A'); git('commit', '-qm', 'all')
    commit = git('rev-parse', 'HEAD')[:12]
    assert said()==commit
    with open(tmp_path/'simpleattn'/'stats.py', 'a') as f: f.write('# changed')
    assert said()==f'{commit}+'
    git('rm', '-rq', '--cached', 'simpleattn'); git('commit', '-qm', 'a project in which the library is installed')
    assert said()==''

def test_the_last_failed_try_is_the_one_of_the_highest_number(tmp_path):
    for k in range(1, 12): write_failure('tiny', 'simple', ENV, 3, 'error', tmp_path, f'try {k}')
    assert last_failure(tmp_path, read_arm('simple', Recipe('tiny')), ENV).startswith('try 11;')

# ---- sealed, but not true

def with_padding(d):
    import base64
    packed = bytearray(base64.b64decode(d['correct'])); packed[-1] |= 1
    d.update(correct=base64.b64encode(packed).decode(), acc=.6, best_acc=.6); d['history'][-1]['acc'] = .6 # as many as bits are set

def with_bits(d, right): d.update(correct=pack_bits([right]*d['n_images']))
def two_epochs(d, *accs): d.update(history=[dict(train_loss=1., valid_loss=1., acc=o) for o in accs])
def a_foreign_layer(d): d['variant']['layer'] = 'evilmod:Cls'
def one_at_another_site(d): d['variant'].update(layer='evilmod:Cls', site='2.-1', kwargs=dict(a=1))
def one_of_the_baseline(d): d['variant'].update(hash='baseline', layer='evilmod:Cls', site='1.-1')
UNTRUE = {'padding':(with_padding,'more bits than images'), 'status':(lambda d: d.update(status='weird'),'status'), 'no accuracy':(lambda d: d.update(acc=None, correct=''),'status is ok'),
    'no best':(lambda d: d.update(best_acc=None, best_epoch=None),'status is ok'), 'no history':(lambda d: d.update(history=[]),'history'), 'history of text':(lambda d: d.update(history=['x']),'history'),
    'best_acc':(lambda d: d.update(best_acc=1.),'best_acc'), 'best_epoch':(lambda d: d.update(best_epoch=77),'best_epoch'), 'a later of equals':(lambda d: (two_epochs(d, .5, .5), d.update(best_epoch=2)),'best_epoch'),
    'best beyond 1':(lambda d: d.update(best_acc=7.),'fraction'), 'text for an accuracy':(lambda d: two_epochs(d, '0.9', .5),'history'), 'last epoch':(lambda d: two_epochs(d, .5, .4),'last epoch'),
    'no bits, more right':(lambda d: d.update(correct='', acc=.99),'last epoch'), 'n_val':(lambda d: d['data'].update(n_val=11),'n_val'),
    **{f'negative {k}':(lambda d, k=k: d.update({k:-1}),'an impossible count or time') for k in ('train_seconds','wall_seconds','params','flops')},
    'more bits than right':(lambda d: with_bits(d, 1),'bits are set'), 'fewer bits than right':(lambda d: with_bits(d, 0),'bits are set'),
    'another recipe':(lambda d: d['recipe'].update(epochs=99),'recipe is not the one'),
    'foreign layer':(a_foreign_layer,'variant'), 'foreign layer elsewhere':(one_at_another_site,'variant'), 'foreign baseline':(one_of_the_baseline,'variant')}

@pytest.mark.parametrize('how', UNTRUE)
def test_a_record_that_contradicts_itself_is_named_and_not_believed(tmp_path, how):
    p = write_run(a_run(0, 'simple'), tmp_path)
    change,says = UNTRUE[how]
    edit(lambda d: (change(d), seal(d)))(p)
    good,bad = find_runs(tmp_path)
    assert not good and [*bad]==[str(p)] and says in bad[str(p)]
    with pytest.raises(ValueError, match=says): read_run(p, tmp_path)

def test_layers_of_others_keep_their_hashes(tmp_path):
    d = dict(name='mine', layer='nowhere:Layer', site='1.-1', kwargs={}, hash='0123456789ab')
    write_run(dataclasses.replace(a_run(0), variant=d), tmp_path)
    assert len(find_runs(tmp_path)[0])==1

# ---- growth is merged with what it adds to

def a_family(root, arms, *growths):
    from simpleattn.runs import write_declaration
    said = lambda vs: dict(arms=[dict(read_arm(('demo', v)).to_dict(), arm=v) for v in vs], seeds=[0], date='d', runs_before=0)
    write_declaration(root, 'demo', said(arms)|dict(baseline=arms[0], delta=.01, alpha=.05, env='any', growth=[]))
    for o in growths: write_declaration(root, 'demo', said(o), growth=True)

@pytest.mark.parametrize('source,root,copied,differ', [
    ([['baseline','self'],['simple']], [['baseline','symmetric']], 0, 2),
    ([['baseline','self'],['simple'],['sasa']], [['baseline','self'],['symmetric']], 0, 2),
    ([['baseline','self'],['simple'],['sasa']], [['baseline','self'],['simple']], 1, 0),
    ([['baseline','self'],['simple'],['sasa']], None, 3, 0)], ids=['another declaration','another growth','one more growth','nothing there'])
def test_a_merge_adds_a_growth_only_to_the_family_that_it_was_declared_for(tmp_path, source, root, copied, differ):
    from simpleattn.runs import merge_runs,read_declaration
    a_family(tmp_path/'source', *source)
    if root: a_family(tmp_path/'runs', *root)
    before = root and read_declaration(tmp_path/'runs', 'demo')
    got = merge_runs(tmp_path/'source', tmp_path/'runs')
    assert (len(got.copied),len(got.differ),got.corrupt)==(copied, differ, {})
    if differ: assert read_declaration(tmp_path/'runs', 'demo')==before

def test_a_merge_adds_no_growth_whose_first_is_missing(tmp_path):
    from simpleattn.runs import merge_runs
    a_family(tmp_path/'source', ['baseline','self'], ['simple'], ['sasa']); (tmp_path/'source'/'_studies'/'demo.growth'/'1.json').unlink()
    a_family(tmp_path/'runs', ['baseline','self'])
    assert merge_runs(tmp_path/'source', tmp_path/'runs').differ==['_studies/demo.growth/2.json']

def test_records_that_do_not_say_which_images_were_right_are_counted_apart(tmp_path):
    write_run(a_run(0), tmp_path); write_run(a_run(1, correct=''), tmp_path); write_run(a_run(2, acc=None, status='diverged', best_acc=None, best_epoch=None), tmp_path)
    assert load_runs(tmp_path).attrs['unchecked']==[a_run(1).path]
    from simpleattn.cli import runs
    said = runs(root=tmp_path, verify=True)
    assert '\n1 of them do not say which images were right' in said and f'\n{a_run(1).path}' in said and a_run(0).path not in said

def test_the_processor_is_among_the_facts_of_a_machine():
    from simpleattn.runs import machine_facts
    cpu = machine_facts()['cpu']
    assert isinstance(cpu, str)
    if Path('/proc/cpuinfo').exists() and 'model name' in (told := Path('/proc/cpuinfo').read_text()): assert cpu and f': {cpu}\n' in told
