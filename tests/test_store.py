"""The store: nothing acknowledged is lost, nothing torn is believed, in a local folder and on S3 with the same code"""
import dataclasses,json,os,random,re,shutil,signal,subprocess,sys,time
from contextlib import contextmanager
from pathlib import Path
import pytest
from fastcore.script import CliError
from conftest import ROOT,cli,python
from simpleattn.recipes import Recipe
from simpleattn.runs import as_root,find_runs,list_files,load_runs,merge_runs,probe,read_run,set_aside,this_env,write_failure,write_run
from simpleattn.study import Study,load_study
from simpleattn.variants import get_variant
from stub_runs import stub_run

ENV = 'cpu-torch2.15'
def a_run(seed=0, variant='baseline', recipe='tiny', env=ENV, **kw): return stub_run(Recipe(recipe), get_variant(variant), seed, env, **kw)

# ---- S3, as moto serves it on loopback

@pytest.fixture(scope='session')
def s3():
    "Environment of a client of moto's server, and a bucket"
    import logging
    from moto.server import ThreadedMotoServer
    logging.getLogger('werkzeug').setLevel(logging.ERROR)
    server = ThreadedMotoServer('127.0.0.1', port=0, verbose=False)
    server.start()
    env = dict(AWS_ENDPOINT_URL='http://127.0.0.1:%d' % server.get_host_and_port()[1], AWS_ACCESS_KEY_ID='x', AWS_SECRET_ACCESS_KEY='y', AWS_DEFAULT_REGION='us-east-1')
    mp = pytest.MonkeyPatch()
    for k,v in env.items(): mp.setenv(k, v)
    import boto3
    boto3.client('s3').create_bucket(Bucket='bucket')
    yield env
    mp.undo()
    server.stop()

@pytest.fixture(params=['folder','s3'])
def root(request, tmp_path):
    "An empty store of either kind"
    if request.param=='folder': return str(tmp_path/'runs')
    request.getfixturevalue('s3')
    return f's3://bucket/{os.getpid()}-{re.sub("[^a-z0-9]+", "-", tmp_path.name.lower())}/runs'

def test_what_is_written_is_read_and_never_overwritten(root):
    for v in ('simple','baseline'):
        for s in (10,9,0): write_run(a_run(s, v), root)
    with pytest.raises(FileExistsError): write_run(a_run(9, acc=.3), root)
    df = load_runs(root)
    assert list(zip(df.variant, df.seed))==[(v,s) for v in ('baseline','simple') for s in (0,9,10)] and df.attrs['corrupt']=={}
    assert find_runs(root)[0][1]==a_run(9, 'baseline')
    assert len(load_runs(root, ['acc'], variant='simple', seed=range(10)))==2 and list(load_runs(root, ['acc']).columns)==['acc']
    assert read_run(as_root(root)/a_run(9).path, root)==a_run(9) and list_files(root, '*', 'simple')==[a_run(s, 'simple').path for s in (0,9,10)]

def test_failed_tries_and_corrupt_records_stand_beside_and_block_nothing(root):
    p = write_run(a_run(), root)
    assert [write_failure('tiny', 'baseline', ENV, 4, 'error', root).name for _ in (1,2)]==['4.failed-1.json','4.failed-2.json']
    p.write_text('broken')
    assert list(load_runs(root).attrs['corrupt'].items())==[(str(p), load_runs(root).attrs['corrupt'][str(p)])] and len(load_runs(root))==0
    set_aside(p)
    assert not p.exists() and p.with_name('0.corrupt-1.json').read_text()=='broken'
    write_run(a_run(), root); write_run(a_run(4), root)
    assert len(load_runs(root))==2 and load_runs(root).attrs['corrupt']=={}

def test_a_study_is_declared_trained_read_and_gone_on_with(root, recipe, tiny):
    s = Study('s', ['baseline','simple'], 2, recipe=recipe, root=root, env=this_env('cpu'))
    s.run('serial', data=tiny, device='cpu', progress=False)
    assert s.missing()==[] and len(s.runs())==2*2
    Study('s', ['baseline','simple'], 3, recipe=recipe, root=root, env=this_env('cpu')).run('serial', data=tiny, device='cpu', progress=False)
    again = load_study('s', root)
    assert again.missing()==[] and len(again.runs())==6 and again.declare()['growth'][0]['seeds']==[2]
    with pytest.raises(CliError, match="'t'.*s"): load_study('t', root)

@pytest.mark.slow
def test_a_study_on_s3_is_trained_by_workers_and_listed(s3, tmp_path, tiny, settings, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = 's3://bucket/workers/runs'
    res = cli('study', 'tiny', '--variants', 'baseline,simple', '--runs', '2', '--settings', settings, '--data', tiny, '--root', url, '--device', 'cpu', '--workers', '2', '--name', 's')
    assert res.returncode==0 and '4/4 runs' in res.stderr and 'Traceback' not in res.stderr, res.stderr
    assert Path(res.stdout.split('Report: ')[1].strip()).exists(), 'a report is a local file'
    rows = json.loads(cli('runs', '--root', url, '--fmt', 'json').stdout)
    assert [(r['variant'],r['seed'],r['status']) for r in rows]==[(v,s,'ok') for v in ('baseline','simple') for s in (0,1)]
    assert '5 files copied' in cli('runs', '--root', 'here', '--merge', url).stdout and len(find_runs('here')[0])==4

@pytest.mark.parametrize('url', ['s3://no-such-bucket/runs','nothing://x/runs'])
def test_a_store_that_cannot_be_opened_is_one_sentence(s3, url):
    with pytest.raises(CliError, match=url.split('/')[2]) as e: probe(url)
    assert '\n' not in str(e.value)

def test_a_store_without_credentials_is_one_sentence_at_the_command_line(tmp_path):
    env = {**dict(AWS_EC2_METADATA_DISABLED='true', HOME=str(tmp_path)), **{k:'' for k in ('AWS_ACCESS_KEY_ID','AWS_SECRET_ACCESS_KEY','AWS_PROFILE')}}
    for args in (['runs'], ['study','demo','--device','cpu']):
        res = cli(*args, '--root', 's3://somebodys/runs', env={**env, 'AWS_ENDPOINT_URL':'http://127.0.0.1:9'})
        assert res.returncode==2 and res.stderr.count('\n')==1 and 's3://somebodys/runs cannot be opened' in res.stderr, res.stderr

def test_a_folder_may_be_named_by_a_url(tmp_path):
    write_run(a_run(), f'file://{tmp_path}/runs')
    assert len(find_runs(tmp_path/'runs')[0])==len(load_runs(f'file://{tmp_path}/runs'))==1

def test_the_states_of_a_race_are_kept_in_any_store(root):
    s = Study('s', ['baseline','simple'], 3, recipe=Recipe('tiny'), root=root, env=ENV, raced=dict(arms=1, looks=None, cap=None))
    for v in ('baseline','simple'):
        for k in range(2): write_run(a_run(k, v), root)
    s.declare()
    s.read().keep_race()
    assert [json.loads(l)['seed'] for l in s.file.with_suffix('.race.jsonl').read_text().splitlines()]==[0,1]

# ---- racing writers (9)

RACE = '''
import os,sys
import fsspec,s3fs,upath
from simpleattn.runs import write_run
from simpleattn.recipes import Recipe
from simpleattn.variants import get_variant
from stub_runs import stub_run
gate,opened = os.pipe()
pids = []
for n in range(8): # nothing of the store is open yet: each child opens it for itself
    if not (pid := os.fork()):
        os.close(opened)
        run = stub_run(Recipe('tiny'), get_variant('baseline'), 0, 'cpu-torch2.15', acc=n/10)
        os.read(gate, 1) # until the parent opens it for all
        try: write_run(run, sys.argv[1]); os._exit(10+n)
        except FileExistsError: os._exit(0)
        except BaseException: import traceback; traceback.print_exc(); os._exit(1)
    pids.append(pid)
os.close(opened)
print(*[os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids])
'''

def test_of_eight_racing_writers_one_wins_and_the_others_are_told(root):
    res = python(RACE, root, env=dict(PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT/'tests')])))
    codes = sorted(map(int, res.stdout.split()))
    assert codes[:7]==[0]*7 and codes[7]>=10, res.stderr
    good,bad = find_runs(root)
    assert [r.acc for r in good]==[(codes[7]-10)/10] and not bad and [o.name for o in as_root(root).glob('tiny/*/*/*')]==['0.json']

# ---- writers killed at random moments (1)

@contextmanager
def forked(root, env):
    "A writer forked from this process, so that 200 of them start at once; what it acknowledged comes down a pipe"
    r,w = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.dup2(w, 1); os.close(r)
            for k in range(10**6): write_run(a_run(k, env=env), root); os.write(1, b'%d\n' % k)
        finally: os._exit(1)
    os.close(w)
    try: yield pid,r
    finally: os.close(r)

@pytest.mark.slow
@pytest.mark.alone
def test_200_writers_killed_at_random_moments_lose_and_tear_nothing(tmp_path, count):
    rng,acknowledged = random.Random(0),set()
    for n in range(200):
        env = f'cpu-{n}'
        with forked(tmp_path, env) as (pid,r):
            time.sleep(rng.uniform(0, .06))
            os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
            said = b''
            while b := os.read(r, 65536): said += b
        acknowledged |= {(env,int(k)) for k in said.decode().split('\n')[:-1]}
    good,bad = find_runs(tmp_path)
    there = {(r.env,r.seed) for r in good}
    count(kills=200, lost=len(acknowledged-there), torn=len(bad), duplicated=len(good)-len(there))
    assert bad=={} and acknowledged<=there and len(there-acknowledged)<=200, 'at most the one that each was at'
    assert len(acknowledged)>200, 'the kills met writers at work'
    assert [r.to_dict() for r in good[:50]]==[a_run(r.seed, env=r.env).to_dict() for r in good[:50]]

# ---- what is not believed (7)

def sealed(change):
    def f(p):
        from simpleattn.runs import _pretty,_seal
        d = json.loads(p.read_text())
        d.pop('sha256'); change(d)
        p.write_text(_pretty(dict(d, sha256=_seal(d))))
    return f

def flip(p): b = bytearray(p.read_bytes()); b[b.index(b'"acc": ')+9] ^= 1; p.write_bytes(b)
def nan(p): p.write_text(re.sub(r'"acc": [0-9.]+', '"acc": NaN', p.read_text(), count=1))
def nan_deep(p): p.write_text(p.read_text().replace('"train_loss": 1.0', '"train_loss": NaN'))
CORRUPT = {'one bit':flip, 'cut':lambda p: os.truncate(p, p.stat().st_size//2), 'empty':lambda p: p.write_text(''), 'zeros':lambda p: p.write_bytes(bytes(p.stat().st_size)),
    'binary':lambda p: p.write_bytes(os.urandom(500)), 'doubled':lambda p: p.write_text(p.read_text()*2), 'not a record':lambda p: p.write_text('[1]'), 'NaN':nan, 'NaN in the history':nan_deep,
    'no seal':lambda p: p.write_text(re.sub(r',\n "sha256": "\w+"', '', p.read_text())), 'nested too deep':lambda p: p.write_text('['*10**5+']'*10**5),
    'more epochs than its recipe':sealed(lambda d: d.update(history=d['history']*20_000)), 'another type':sealed(lambda d: d.update(recipe='tiny')), 'a path as a name':sealed(lambda d: d['variant'].update(name='../x')), 'accuracy above 1':sealed(lambda d: d.update(acc=7.)),
    'too few bits':sealed(lambda d: d.update(n_images=999)), 'newer schema':sealed(lambda d: d.update(schema=2)), 'newer schema, other fields':sealed(lambda d: (d.clear(), d.update(schema=3, what='else')))}

@pytest.mark.parametrize('how', CORRUPT)
def test_a_corrupt_record_is_named_and_counts_for_nothing(tmp_path, how):
    write_run(a_run(1), tmp_path)
    p = write_run(a_run(0), tmp_path)
    CORRUPT[how](p)
    df = load_runs(tmp_path)
    assert df.seed.tolist()==[1] and list(df.attrs['corrupt'])==[str(p)] and p.exists()
    res = cli_main(['runs','--root',tmp_path,'--verify'])
    assert res[0]==1 and f'{p}: ' in res[2] and '1 records' in res[1] and '1 not believed' in res[1]

def test_a_store_within_a_store_is_named_with_the_command_that_merges_it(root):
    "As cp -r leaves it, where the folder was there"
    for seed in (0, 1): write_run(a_run(seed), root)
    inside = as_root(root)/'copied'
    write_run(a_run(2), inside)
    code,out,err = cli_main(['runs','--verify','--root',root])
    assert code==1 and f'{inside}: holds records or declarations one folder too deep' in err and '2 records' in out and 'made again' not in err
    assert cli_main(['runs','--merge',inside,'--root',root])[0]==0 and len(load_runs(root))==3

@pytest.mark.parametrize('name,code', [('tiny/tiny/baseline/e/0.json',1), ('tiny/baseline/e/copied/0.json',1), ('old/_studies/s.json',1), ('tiny/baseline/e/notes/x.json',0), ('_observed/tiny/baseline/e/0.json',0), ('.git/a/b/c/0.json',0)])
def test_records_that_lie_too_deep_are_told_from_other_files(tmp_path, name, code):
    write_run(a_run(), tmp_path)
    (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path/name).write_text('{}')
    got,out,err = cli_main(['runs','--verify','--root',tmp_path])
    assert got==code and ('one folder too deep' in err)==bool(code)

def test_the_way_out_for_records_too_deep_mends(tmp_path):
    "A whole store is merged; a folder that was copied into itself is moved"
    for seed in (0,1): write_run(a_run(seed), tmp_path/'here'); write_run(a_run(seed+5), tmp_path/'there')
    shutil.copytree(tmp_path/'there', tmp_path/'here'/'runs')
    code,out,err = cli_main(['runs','--verify','--root',tmp_path/'here'])
    way = re.search(r'simpleattn (runs --merge \S+ --root \S+)', err)[1]
    assert code==1 and cli_main(way.split())[0] in (0,1) and len(load_runs(tmp_path/'here'))==4
    shutil.rmtree(tmp_path/'here'/'runs')
    deep = tmp_path/'here'/'tiny'/'baseline'/ENV
    shutil.copytree(deep, deep/ENV)
    code,out,err = cli_main(['runs','--verify','--root',tmp_path/'here'])
    assert code==1 and f'{deep/ENV}: holds records' in err and 'Move them up' in err and '--merge' not in err

def test_a_misplaced_record_is_named_with_its_place(tmp_path):
    p = write_run(a_run(0), tmp_path)
    for q in (p.with_name('7.json'), tmp_path/'tiny'/'simple'/ENV/'0.json', tmp_path/'other'/'baseline'/ENV/'0.json', tmp_path/'tiny'/'baseline'/'gpu'/'0.json'):
        q.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(p, q)
        df = load_runs(tmp_path)
        assert len(df)==1 and df.attrs['corrupt']=={str(q):f'content says tiny/baseline/{ENV}/0.json'}
        q.unlink()

def cli_main(args):
    import contextlib,io
    from simpleattn.cli import main
    out,err = io.StringIO(),io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: code = main([str(o) for o in args])
        except SystemExit as e: code = e.code
    return code or 0, out.getvalue(), err.getvalue()

def test_a_newer_schema_stays_in_place_and_stops_the_study_with_a_sentence(tmp_path):
    s = Study('s', ['baseline','simple'], 2, recipe=Recipe('tiny'), root=tmp_path, env=ENV)
    p = write_run(a_run(0), tmp_path)
    CORRUPT['newer schema'](p)
    with pytest.raises(CliError, match='0.json is of a newer schema'): s.run('serial', progress=False)
    assert p.exists() and list(tmp_path.glob('**/*corrupt*'))==[]

def test_linked_records_and_folders_are_not_followed(tmp_path):
    write_run(a_run(0), tmp_path/'else')
    (tmp_path/'runs').mkdir()
    (tmp_path/'runs'/'tiny').symlink_to(tmp_path/'else'/'tiny')
    for read in (find_runs, load_runs):
        with pytest.raises(CliError, match='runs/tiny is a link'): read(tmp_path/'runs')
    assert len(load_runs(tmp_path/'runs', recipe=['other']))==len(load_runs(tmp_path/'runs', recipe='other'))==0, 'nobody asked for what the link stands for'
    assert find_runs(tmp_path/'runs', 'other')==([],{}), 'what was not asked for is not in the way'

@pytest.mark.parametrize('change', [dict(seed=-1), dict(seed=2**32), dict(seed=True), dict(env='a/b'), dict(acc=float('nan')), dict(acc=1.5), dict(status=None), dict(data={}), dict(variant=dict(name='<b>', hash='x'))], ids=str)
def test_what_is_no_run_is_not_made(tmp_path, change):
    with pytest.raises(ValueError): write_run(a_run(**{**dict(seed=0), **change}) if 'variant' not in change else dataclasses.replace(a_run(), **change), tmp_path)
    assert not [o for o in tmp_path.rglob('*') if o.is_file()]

# ---- disks that are full or closed (6)

mountable = subprocess.run(['unshare','-rm','true'], capture_output=True).returncode==0 if shutil.which('unshare') else False
def mounted(options, code, folder, **kw):
    "Run Python code with a tmpfs on `folder`, in a mount namespace of its own"
    if not mountable: pytest.skip('no mount namespaces here: unshare -rm does not work')
    shell = f'mount -t tmpfs -o {options} tmpfs {folder} && exec "$0" -c "$1" "{folder}"'
    return subprocess.run(['unshare','-rm','sh','-c',shell,sys.executable,code], capture_output=True, text=True, timeout=240, env={**os.environ, 'PYTHONPATH':os.pathsep.join([str(ROOT), str(ROOT/'tests')]), **kw})

FULL = '''
import sys
import stub_runs,stub_train
stub_runs.without_networks()
from simpleattn import cli
from simpleattn.runs import find_runs
root = sys.argv[1]+'/runs'
code = cli.main(['study','demo','--variants','baseline,simple','--runs','100','--name','s','--engine','serial','--root',root,'--device','cpu'])
good,bad = find_runs(root)
print('status', code, 'good', len(good), 'bad', len(bad), 'tmp', len(list(__import__('pathlib').Path(root).rglob('*.tmp'))))
'''

def test_a_disk_that_fills_up_keeps_what_is_finished_and_is_one_sentence(tmp_path):
    res = mounted('size=512k', FULL, tmp_path, STUB_LOG='/dev/null', STUB_SECONDS='0')
    said = res.stdout.strip().splitlines()[-1].split()
    assert said[1]=='2' and 50<int(said[3])<130 and said[5]==said[7]=='0', res.stdout+res.stderr
    line = res.stderr.strip().splitlines()[-1]
    assert line.startswith('simpleattn: ') and 'cannot be written (No space left on device)' in line and 'finished is kept' in line and 'Traceback' not in res.stderr

def test_a_full_disk_is_found_before_anything_is_trained(tmp_path):
    res = mounted('size=32k', FULL, tmp_path, STUB_LOG=str(tmp_path/'log'))
    assert 'status 2 good 0' in res.stdout and 'No space left' in res.stderr and '0/200' not in res.stderr

def test_a_read_only_folder_is_found_before_anything_is_trained(tmp_path):
    res = mounted('ro', FULL, tmp_path, STUB_LOG=str(tmp_path/'log'))
    line = res.stderr.strip().splitlines()[-1]
    assert 'status 2 good 0' in res.stdout and 'Read-only file system' in line and line.startswith('simpleattn: ') and 'Traceback' not in res.stderr

@pytest.mark.parametrize('where', ['runs','runs/tiny'])
def test_a_file_in_the_folders_place_is_one_sentence(tmp_path, where):
    (tmp_path/where).parent.mkdir(exist_ok=True)
    (tmp_path/where).write_text('mine')
    with pytest.raises(CliError, match='cannot be written.*(is a file|Not a directory)'): write_run(a_run(), tmp_path/'runs')
    assert (tmp_path/where).read_text()=='mine'
    if where=='runs':
        code,out,err = cli_main(['study','demo','--runs','2','--root',tmp_path/'runs','--device','cpu'])
        assert code==2 and err.strip().splitlines()[-1].startswith('simpleattn: ') and any(o in err for o in ('is a file','is not a folder'))

def test_a_file_that_may_not_grow_is_a_full_disk(tmp_path):
    "The limit on a file's size stands in for a disk, where none can be mounted"
    code = '''
import resource,signal,sys
from simpleattn.runs import write_run,find_runs
from simpleattn.recipes import CliError
from test_store import a_run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
write_run(a_run(0), sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000,1000))
try: write_run(a_run(1), sys.argv[1])
except CliError as e: print(e)
print(len(find_runs(sys.argv[1])[0]), find_runs(sys.argv[1])[1])'''
    res = python(code, tmp_path, env=dict(PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT/'tests')])))
    assert 'cannot be written (File too large)' in res.stdout and res.stdout.strip().endswith('1 {}'), res.stderr
    assert not list(tmp_path.rglob('*.tmp'))

# ---- two stores become one

def test_merging_copies_what_is_missing_and_names_what_differs(root, tmp_path):
    other = tmp_path/'other'
    write_failure('tiny', 'baseline', ENV, 6, 'error', other).write_bytes(b'\xff\xfe')
    for s in (0,1): write_run(a_run(s), root)
    for s in (1,2): write_run(a_run(s), other)
    write_run(a_run(0, acc=.1), other); write_failure('tiny', 'baseline', ENV, 5, 'error', other); CORRUPT['cut'](write_run(a_run(8), other))
    Study('s', ['baseline','simple'], 2, recipe=Recipe('tiny'), root=other, env=ENV).declare()
    got = merge_runs(other, root)
    garbage = f'tiny/baseline/{ENV}/6.failed-1.json'
    assert (len(got.copied),len(got.there),got.differ,sorted(got.corrupt))==(3,1,[a_run(0).path],sorted([a_run(8).path, garbage]))
    df = load_runs(root)
    assert df.seed.tolist()==[0,1,2] and df.acc[0]==a_run(0).acc and (as_root(root)/a_run(2).path).read_bytes()==(other/a_run(2).path).read_bytes()
    assert (as_root(root)/'tiny'/'baseline'/ENV/'5.failed-1.json').exists() and load_study('s', root).seeds==[0,1]
    code,out,err = cli_main(['runs','--root',root,'--merge',other])
    assert code==1 and '0 files copied, 4 were there, 1 differ, 2 not believed' in out and a_run(0).path in err and a_run(8).path in err

def test_a_merge_of_what_is_there_writes_nothing(tmp_path, monkeypatch):
    import simpleattn.files as files
    for s in range(3): write_run(a_run(s), tmp_path/'other')
    written, write = [], files._write_beside
    monkeypatch.setattr(files, '_write_beside', lambda path, content: written.append(path.name) or write(path, content))
    merge_runs(tmp_path/'other', tmp_path/'runs')
    assert sorted(written)==['0.json','1.json','2.json']
    assert len(merge_runs(tmp_path/'other', tmp_path/'runs').there)==3 and len(written)==3

def test_the_list_goes_to_csv(tmp_path):
    import csv,io
    for s in (0,1): write_run(a_run(s), tmp_path)
    code,out,err = cli_main(['runs','--root',tmp_path,'--fmt','csv'])
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code==0 and [r['seed'] for r in rows]==['0','1'] and float(rows[1]['acc'])==a_run(1).acc and {'recipe','variant','env','status','finished'}<=set(rows[0])
    assert cli_main(['runs','--root',tmp_path,'--verify'])[:2]==(0, '2 records, each with its path, schema and checksum compared with its content; 0 not believed\n')

# ---- reading at scale: speed and memory are in benchmarks/records_read.py; here, that the benchmark works and its record is met

def test_the_benchmark_of_reading_runs_and_its_record_is_met():
    d = json.loads((ROOT/'benchmarks'/'records'/'records_read.json').read_text())
    assert {o['records']:o['met'] for o in d['results']}=={10_000:True, 100_000:True} and d['cpu'] and d['cores']
    for o in d['results']: assert o['seconds']<=o['limit_seconds'] and o['peak_mb']<=o['limit_mb']

@pytest.mark.slow
def test_ten_thousand_records_are_read_within_the_limit_of_memory():
    res = python('import sys; sys.path.insert(0, "benchmarks"); import records_read as b, json; print(json.dumps(b.main([10_000])["results"][0]))', cwd=ROOT)
    o = json.loads(res.stdout.strip().splitlines()[-1])
    assert o['records']==10_000 and o['peak_mb']<=150, 'time is for benchmarks/'
