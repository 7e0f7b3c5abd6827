"""One door for what is written and read: no link followed, no name outside, nothing taken for missing or broken because a disk or a network failed"""
import asyncio,errno,json,os,random,shutil,sys
from pathlib import Path
import pytest
from fastcore.script import CliError
from conftest import ROOT,python,run_process
from simpleattn import files
from simpleattn.files import as_root,get,get_many,is_there,list_names,put,remove
from simpleattn.recipes import Recipe
from simpleattn.runs import Machine,Parked,arm_runs,claim,find_runs,list_files,merge_runs,parked_folders,probe,read_declaration,read_run,set_aside,waiting_records,write_declaration,write_failure,write_run
from simpleattn.study import Study,load_study
from simpleattn.variants import Variant,get_variant,read_arm
from stub_runs import stub_run
from test_store import CORRUPT,ENV,a_run,cli_main,root,s3,sealed

@pytest.fixture(autouse=True)
def hurried(monkeypatch): monkeypatch.setattr(files, 'pauses', (.001,.002,.003))

@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path/'state'))
    return tmp_path/'state'

def a_study(root, arms=('baseline','simple'), seeds=2, name='s', **kw): return Study(name, list(arms), seeds, recipe=Recipe('tiny'), root=root, env=ENV, **kw)
def everything(folder): return sorted((p.relative_to(folder).as_posix(), os.readlink(p) if p.is_symlink() else p.read_bytes()) for p in Path(folder).rglob('*') if p.is_symlink() or p.is_file())

# ---- names and links

@pytest.mark.parametrize('name', ['../x','a/../../x','/x','a//b','','.','a/.','a\0b','a\\..\\x','C:x'])
def test_a_name_that_could_leave_its_root_is_refused_by_every_verb(root, tmp_path, name):
    for f in (lambda: put(root, name, 'x'), lambda: get(root, name), lambda: remove(root, name)):
        with pytest.raises(CliError, match='not a name below'): f()
    assert [p for p in tmp_path.rglob('*') if p.is_file()]==[]

def write_report_of(root):
    from simpleattn.report import keep_report
    for v in ('baseline','simple'):
        for s in (0,1):
            if not (Path(root)/a_run(s, v).path).exists(): write_run(a_run(s, v, acc=.5+.1*s), root)
    return keep_report(a_study(root, name='s').read())

def report_with_declaration(root):
    a_study(root).declare()
    return write_report_of(root)

def checkpoint_in(root):
    from simpleattn.train import Checkpoint
    c = Checkpoint(Path(root)/'tiny'/'baseline'/'0.pt', ['key'], root)
    return c._load()

def keep_race_in(root): return a_study(root, raced=dict(arms=1, looks=None, cap=None)).read().keep_race()
FORMS = ('index.html','report.md','report.tex','report.csv','report.json','runs.csv','study.svg')
WRITERS = {'record':(lambda r: write_run(a_run(), r), f'tiny/baseline/{ENV}/0.json'), 'failed try':(lambda r: write_failure('tiny','baseline',ENV,0,'e',r), f'tiny/baseline/{ENV}'),
    'declaration':(lambda r: a_study(r).declare(), '_studies/s.json'), 'race':(keep_race_in, '_studies/s.race.jsonl'), 'checkpoint':(checkpoint_in, 'tiny/baseline/0.pt'),
    'lock':(lambda r: claim(r, 'x').__enter__(), '.lock'), 'folder of declarations':(lambda r: a_study(r).declare(), '_studies'), 'folder of a recipe':(lambda r: write_run(a_run(), r), 'tiny'),
    'folder of reports':(report_with_declaration, '_reports'), 'folder of a report':(report_with_declaration, '_reports/s'),
    **{f'{o} of a report':(report_with_declaration, f'_reports/s/{o}') for o in FORMS}}

@pytest.mark.parametrize('exists', [True,False], ids=['a link to something','a link to nothing'])
@pytest.mark.parametrize('what', WRITERS)
def test_nothing_is_written_through_a_link_below_the_root(tmp_path, what, exists):
    f,name = WRITERS[what]
    is_folder = '.' not in name.rpartition('/')[2] or name.endswith(ENV)
    victim,place = tmp_path/'home'/'mine', tmp_path/'runs'/name
    place.parent.mkdir(parents=True); victim.parent.mkdir()
    if exists: victim.mkdir() if is_folder else victim.write_text('mine')
    place.symlink_to(victim)
    before = everything(tmp_path/'home')
    with pytest.raises(CliError, match='is a link'): f(tmp_path/'runs')
    assert everything(tmp_path/'home')==before and place.is_symlink()

def test_a_root_that_is_a_link_is_the_users_own_choice(tmp_path):
    (tmp_path/'big-disk').mkdir(); (tmp_path/'runs').symlink_to(tmp_path/'big-disk')
    write_run(a_run(), tmp_path/'runs')
    assert len(find_runs(tmp_path/'runs')[0])==1 and (tmp_path/'big-disk'/a_run().path).is_file()

@pytest.mark.parametrize('url', ['local://{}','file://{}','simplecache::file://{}','filecache::local://{}','dir::file://{}','generic://{}','asynclocal://{}','LOCAL://{}','file:{}','s3:{}','x://y','webhdfs://y/z','jupyter://y/z','sftp://localhost{}'])
def test_no_address_of_a_folder_leads_past_its_links(tmp_path, url, recwarn):
    victim = tmp_path/'elsewhere'/'baseline'/ENV
    victim.mkdir(parents=True); (tmp_path/'runs').mkdir()
    (tmp_path/'runs'/'tiny').symlink_to(tmp_path/'elsewhere')
    write_run(a_run(), tmp_path/'other')
    with pytest.raises(CliError, match='is a link|neither a folder nor in an object store') as e: merge_runs(tmp_path/'other', url.format(tmp_path/'runs'))
    assert not [*victim.iterdir()] and not recwarn.list and '\n' not in str(e.value)

def test_a_folder_by_its_address_is_that_folder(tmp_path):
    import upath
    for root in (f'local://{tmp_path}', f'file://{tmp_path}', upath.UPath(f'local://{tmp_path}'), upath.UPath(tmp_path)): assert type(as_root(root))==type(tmp_path) and as_root(root)==tmp_path

@pytest.mark.parametrize('args', [['report','s','--out','file:rep'], ['report','s','--out','s3:rep'], ['runs','--root','file:runs'], ['plan','demo','--sd','0.01','--plot','s3://b/x.svg'], ['report','s','--out','s3:/x'], ['runs','--verify','--root','x://y'], ['runs','--merge','runs','--root','x://y'], ['plan','demo','--sd','.01','--plot','s3:/x.svg']], ids=' '.join)
def test_an_address_is_no_folder_to_write_to(tmp_path, monkeypatch, recwarn, args):
    write_report_of(tmp_path/'runs'); a_study(tmp_path/'runs').declare()
    monkeypatch.chdir(tmp_path)
    before = everything(tmp_path)
    code,out,err = cli_main(args)
    assert code==2 and out=='' and err.count('\n')==1 and 'No such file' not in err and everything(tmp_path)==before and not recwarn.list
    assert not [o for o in tmp_path.iterdir() if ':' in o.name]

def test_a_place_that_was_read_is_read_the_same_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ('./~','./file:x','~','runs','run:1'): assert as_root(as_root(text))==as_root(text)
    assert as_root('./~')==tmp_path/'~' and as_root('./file:x')==tmp_path/'file:x'

def test_a_tilde_is_the_home_wherever_a_place_is_given(tmp_path, monkeypatch):
    "A shell expands it in a word of its own, and not after a ="
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    (tmp_path/'home').mkdir(); (tmp_path/'work').mkdir()
    write_report_of(tmp_path/'home'/'runs'); a_study(tmp_path/'home'/'runs').declare()
    monkeypatch.chdir(tmp_path/'work')
    for args in (['report','s','--root=~/runs','--out=~/rep'], ['plan','demo','--sd=.01','--plot=~/x.svg'], ['compare','s','--root=~/runs'], ['runs','--merge=~/runs','--root=~/other']):
        assert cli_main(args)[0]==0, args
    assert as_root('~/runs')==as_root(Path('~/runs'))==tmp_path/'home'/'runs' and load_study('s', '~/runs').root.is_absolute()
    assert Machine(checkpoints='~/kept').checkpoint('a/0.json')==tmp_path/'home'/'kept'/'a'/'0.pt'
    assert Machine(checkpoints='~/kept').absolute().checkpoints==str(tmp_path/'home'/'kept')
    assert [o.name for o in sorted((tmp_path/'home').iterdir())]==['other','rep','runs','x.svg'] and not [*(tmp_path/'work').iterdir()]

def test_a_declaration_of_another_name_is_refused_where_it_is_read(tmp_path):
    a_study(tmp_path, name='demo').declare()
    p = tmp_path/'_studies'/'demo.json'
    p.write_text(json.dumps(json.loads(p.read_text())|dict(name='demo\ntouch /tmp/ran\n')))
    for f in (lambda: load_study('demo', tmp_path), lambda: a_study(tmp_path, name='demo')):
        with pytest.raises(CliError, match='demo.json is damaged'): f()

@pytest.mark.parametrize('kind', ['folder','pipe','device'])
def test_what_is_no_plain_file_is_not_read(tmp_path, kind):
    p = tmp_path/'_studies'/'s.json'; p.parent.mkdir()
    if kind=='device' and os.getuid(): pytest.skip('devices are made by root')
    try: dict(folder=p.mkdir, pipe=lambda: os.mkfifo(p), device=lambda: os.mknod(p, 0o20666, os.makedev(1, 5)))[kind]()
    except PermissionError: pytest.skip('no devices here')
    with pytest.raises(CliError, match='not a plain file'): load_study('s', tmp_path)

# ---- could not be read now

class Flaky:
    "Files and folders that cannot be opened, of some paths, a number of times"
    def __init__(self, monkeypatch, part, times, error):
        self.left,self.part,self.error = times,part,error
        self.open,self.scan = open,os.scandir
        monkeypatch.setattr('builtins.open', lambda p, *how, **more: self.perhaps(p, self.open, *how, **more))
        monkeypatch.setattr(os, 'scandir', lambda p='.': self.perhaps(p, self.scan))
    def perhaps(self, path, f, *how, **more):
        if self.part in str(path) and self.left>0:
            self.left -= 1
            raise OSError(self.error, os.strerror(self.error), str(path))
        return f(path, *how, **more)

READERS = {'records':(f'{ENV}/1.json', lambda r: [o.seed for o in find_runs(r)[0]]), 'listing':(f'{ENV}', lambda r: [o.seed for o in find_runs(r)[0]]),
    'one record':(f'{ENV}/1.json', lambda r: read_run(Path(r)/a_run(1).path, r).seed), 'declaration':('s.json', lambda r: load_study('s', r).seeds),
    'growth':('1.json', lambda r: load_study('s', r).seeds), 'study':(f'{ENV}/1.json', lambda r: a_study(r, seeds=3).read().missing), 'tidying':(f'{ENV}/1.json', lambda r: a_study(r, seeds=3)._tidy())}

@pytest.mark.parametrize('error', [errno.EIO,errno.EACCES,errno.ESTALE,errno.EMFILE,errno.ETIMEDOUT], ids=errno.errorcode.get)
@pytest.mark.parametrize('what', READERS)
def test_a_read_that_fails_is_tried_again_and_then_ends_with_a_line_and_nothing_is_moved(tmp_path, monkeypatch, what, error, count):
    for v in ('baseline','simple'):
        for s in range(3): write_run(a_run(s, v), tmp_path)
    a_study(tmp_path).declare(); a_study(tmp_path, seeds=3).declare()
    part,read = READERS[what]
    before,want = everything(tmp_path),read(tmp_path)
    flaky = Flaky(monkeypatch, part, 2, error)
    assert read(tmp_path)==want and flaky.left==0, 'it failed twice'
    flaky.left = 10**6
    with pytest.raises(CliError, match='cannot be read now .*neither as missing nor as broken'): read(tmp_path)
    failed = 2 + 10**6-flaky.left
    flaky.left = 0
    assert everything(tmp_path)==before
    count(faulty_reads=failed, lost=len({*before}-{*everything(tmp_path)}))

def test_a_study_on_a_store_that_cannot_be_read_trains_and_moves_nothing(tmp_path, monkeypatch):
    for v in ('baseline','simple'):
        for s in range(2): write_run(a_run(s, v), tmp_path)
    s = a_study(tmp_path, seeds=3); s.declare()
    before = everything(tmp_path)
    flaky = Flaky(monkeypatch, f'{ENV}/1.json', 10**6, errno.EIO)
    monkeypatch.setattr('simpleattn.study.Study._check_data', lambda *a: None)
    with pytest.raises(CliError, match='cannot be read now'): s.run('serial', device='cpu', progress=False)
    flaky.left = 0
    assert [o for o in everything(tmp_path) if o[0]!='.lock']==before

def test_a_write_that_fails_is_tried_again_and_leaves_nothing_half(tmp_path, monkeypatch):
    link,left = os.link,[2]
    def flaky(*a):
        left[0] -= 1
        if left[0]>=0: raise OSError(errno.EIO, 'Input/output error')
        return link(*a)
    monkeypatch.setattr(os, 'link', flaky)
    write_run(a_run(), tmp_path)
    assert find_runs(tmp_path)==([a_run()],{}) and left[0]==-1 and not list(tmp_path.rglob('*.tmp'))
    left[0] = 10**6
    with pytest.raises(CliError, match='cannot be written'): write_failure('tiny','baseline',ENV,0,'e',tmp_path)
    assert not list(tmp_path.rglob('*.tmp')) and [o.name for o in (tmp_path/'tiny'/'baseline'/ENV).iterdir()]==['0.json']

def test_what_cannot_be_written_whole_leaves_nothing_beside_it(tmp_path, monkeypatch):
    def full(fd): raise OSError(errno.ENOSPC, 'No space left on device')
    put(tmp_path, 'there.json', 'before')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(CliError, match='cannot be written .No space left'): put(tmp_path, 'there.json', 'after', over=True, patient=False)
    assert [*tmp_path.iterdir()]==[tmp_path/'there.json'] and (tmp_path/'there.json').read_text()=='before'

@pytest.mark.parametrize('content', ['ours','theirs'])
def test_a_file_that_came_between_two_tries_is_ours_only_where_it_says_the_same(tmp_path, monkeypatch, content):
    link = os.link
    def fails_once(*a):
        monkeypatch.setattr(os, 'link', link)
        (tmp_path/'x.json').write_text(content)
        raise OSError(errno.EIO, 'Input/output error')
    monkeypatch.setattr(os, 'link', fails_once)
    if content=='theirs':
        with pytest.raises(FileExistsError): put(tmp_path, 'x.json', 'ours')
    else: put(tmp_path, 'x.json', 'ours')
    assert get(tmp_path, 'x.json')==content.encode()

def test_what_no_pause_mends_is_not_tried_again(tmp_path, monkeypatch):
    tries = []
    def read_only(*a): tries.append(a); raise OSError(errno.EROFS, 'Read-only file system')
    monkeypatch.setattr(os, 'link', read_only)
    with pytest.raises(CliError, match='Read-only'): put(tmp_path, 'x.json', 'x')
    assert len(tries)==1

def test_a_file_larger_than_any_of_a_store_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'most_bytes', 10)
    put(tmp_path, 'ten.json', '0123456789')
    put(tmp_path, 'more.json', '0123456789a')
    assert get(tmp_path, 'ten.json')==b'0123456789'
    with pytest.raises(CliError, match='larger than any file of a store'): get(tmp_path, 'more.json')

@pytest.mark.parametrize('any_size', [False, True])
def test_the_most_that_is_read_is_the_same_in_a_folder_and_a_bucket(tmp_path, monkeypatch, any_size):
    monkeypatch.setattr(files, 'most_bytes', 10)
    for root in (tmp_path, f'memory://{tmp_path.name}'):
        put(root, 'more.json', '0123456789a')
        if any_size: assert get(root, 'more.json', any_size=True)==b'0123456789a'
        else:
            with pytest.raises(CliError, match='larger than any file of a store'): get(root, 'more.json')
        assert dict(get_many(root, ['more.json']))=={'more.json':b'0123456789a'}
        put(root, 'most.json', 20*'x')
        assert len(dict(get_many(root, ['most.json']))['most.json'])==11 # enough to know that it is too large

@pytest.mark.parametrize('name', ['._0.json','.0.json','._s.json'])
def test_hidden_files_such_as_macos_writes_beside_others_are_no_records(root, name):
    for v in ('baseline','simple'):
        for k in (0,1): write_run(a_run(k, v), root)
    a_study(root).declare()
    for folder in (f'tiny/baseline/{ENV}', '_studies', 'tiny', 'tiny/baseline'): put(root, f'{folder}/{name}', b'\0\5\x16\7 Mac OS X')
    good,bad = find_runs(root)
    assert (len(good),bad)==(4,{}) and a_study(root).read().missing==[] and not merge_runs(root, root).corrupt
    assert cli_main(['runs','--verify','--root',root])[0]==0

def test_a_folder_of_folders_holds_nothing(tmp_path):
    (tmp_path/'demo'/'simple'/'cpu').mkdir(parents=True); (tmp_path/'.git').mkdir()
    for o in ('.lock','.git/config','demo/.DS_Store'): (tmp_path/o).touch()
    assert not files.holds_something(tmp_path) and cli_main(['runs','--verify','--root',tmp_path])[0]==0
    (tmp_path/'demo'/'simple'/'notes.txt').touch()
    assert files.holds_something(tmp_path) and cli_main(['runs','--verify','--root',tmp_path])[0]==1

def test_compare_names_a_record_that_is_there_and_not_believed(tmp_path):
    write_report_of(tmp_path); a_study(tmp_path).declare()
    (tmp_path/a_run(1).path).write_text('<<<<<<< HEAD')
    for words in (['compare','s'], ['report','s','--out',tmp_path/'out']):
        code,out,err = cli_main([*words,'--root',tmp_path])
        assert f'{a_run(1).path} is not believed, so that its seed is missing' in err, (code, out, err)

# ---- an object store whose requests fail

class FaultyS3:
    "A share of the requests to S3 fail before they are made, or their answers are lost; a read may say that nothing is there"
    def __init__(self, monkeypatch, share, seed=0):
        from s3fs import S3FileSystem
        self.rng,self.n,self.failed,self.share = random.Random(seed),0,0,share
        real = S3FileSystem._call_s3
        async def call(fs, method, *args, **kwargs):
            self.n += 1
            fails,how = self.rng.random()<self.share, self.rng.random()
            self.failed += fails
            if fails and how<.35: raise OSError(errno.EIO, '500 Internal Server Error')
            if fails and how<.5: raise PermissionError(errno.EACCES, '403 Forbidden')
            if fails and how<.8 and method.startswith(('get','head','list')): raise FileNotFoundError('404')
            answer = await real(fs, method, *args, **kwargs)
            if fails: raise asyncio.TimeoutError('the answer was lost')
            return answer
        monkeypatch.setattr(S3FileSystem, '_call_s3', call)

def insist(f):
    "The same command again, as its line says, until it works"
    for _ in range(200):
        try: return f()
        except CliError as e: assert 'cannot be' in str(e), e
    raise AssertionError('never')

@pytest.mark.slow
@pytest.mark.parametrize('seed', [0,1,2])
def test_with_45_of_100_requests_failing_nothing_is_lost_duplicated_renamed_or_left_out(s3, state, monkeypatch, seed, count):
    root = f's3://bucket/faulty-{seed}/runs'
    as_root(root)
    faulty = FaultyS3(monkeypatch, .45, seed)
    def write(run):
        try: write_run(run, root)
        except FileExistsError: assert read_run(as_root(root)/run.path, root)==run
    for v in ('baseline','simple'):
        for s in range(4): insist(lambda: write(a_run(s, v)))
    for s in (2,3,4): insist(lambda: a_study(root, seeds=s).declare())
    insist(lambda: probe(root))
    for _ in range(2):
        good,bad = insist(lambda: find_runs(root))
        assert (len(good),bad)==(8,{})
        now = insist(lambda: load_study('s', root).read())
        assert now.missing==[] and now.n_runs==8 and not now.not_believed
        insist(lambda: a_study(root, seeds=4)._tidy())
    faulty.share = 0
    names = list_names(root, '*', '*', '*', '*')
    assert sorted(names)==sorted(a_run(s, v).path for v in ('baseline','simple') for s in range(4)), 'nothing lost, duplicated or renamed'
    assert list_names(root, '_studies', '*.json')==['_studies/s.json'] and load_study('s', root).seeds==[*range(4)]
    assert [p for o in parked_folders(root) for p in o.rglob('*.json')]==[]
    count(requests=faulty.n, faulty_requests=faulty.failed, lost=8-len(set(names)), duplicated=len(names)-len(set(names)))

# ---- parked

def test_a_record_that_cannot_be_published_waits_in_a_local_folder_and_is_published_by_the_next_probe(tmp_path, state):
    runs = tmp_path/'runs'; runs.mkdir()
    (runs/'tiny').write_text('a file in the place of the folder')
    for s in (0,1):
        with pytest.raises(CliError, match=f'cannot be written.*The record waits in {state}'): write_run(a_run(s), runs)
    assert find_runs(parked_folders(runs)[0])==([a_run(0),a_run(1)],{})
    (runs/'tiny').unlink()
    write_run(a_run(1, wall_seconds=99.), runs) # the other machine made it too
    probe(runs)
    assert [r.seed for r in find_runs(runs)[0]]==[0,1] and find_runs(runs)[0][1].wall_seconds==99
    assert not any(o.exists() for o in parked_folders(runs)), 'nothing waits any more'

def test_a_sick_home_keeps_no_record_out_of_a_healthy_store(tmp_path, state, monkeypatch):
    runs,folder = tmp_path/'runs', parked_folders(tmp_path/'runs')[0]
    folder.mkdir(parents=True)
    scandir = os.scandir
    def fails(path):
        if str(path).startswith(str(state)): raise OSError(errno.EIO, 'Input/output error')
        return scandir(path)
    monkeypatch.setattr(os, 'scandir', fails)
    write_run(a_run(), runs)
    assert (runs/a_run().path).is_file()

def test_records_wait_for_a_root_of_any_name(tmp_path, state):
    root = Path(os.fsdecode(os.fsencode(tmp_path)+b'/\xff'))
    write_run(a_run(), root)
    assert find_runs(root)[0]==[a_run()] and len({*parked_folders(root), *parked_folders(tmp_path)})==4

@pytest.mark.parametrize('planted', ['','/parked','/parked/KEY','/parked/KEY/tiny'])
def test_no_record_is_parked_through_a_link_or_in_what_another_user_made(tmp_path, monkeypatch, planted):
    monkeypatch.setenv('XDG_STATE_HOME', '/proc')
    victim,temporary = tmp_path/'victim', tmp_path/'tmp'
    victim.mkdir(); temporary.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(temporary))
    (tmp_path/'runs').write_text('a file')
    folder = parked_folders(tmp_path/'runs')[-1]
    place = temporary/(f'simpleattn-{os.getuid()}{planted}').replace('KEY', folder.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(victim)
    with pytest.raises(CliError, match='this run is lost'): write_run(a_run(), tmp_path/'runs')
    assert not [*victim.iterdir()] and not waiting_records(tmp_path/'runs')
    place.unlink()
    with pytest.raises(CliError, match='The record waits in'): write_run(a_run(), tmp_path/'runs')
    assert waiting_records(tmp_path/'runs')==[a_run().path]
    monkeypatch.setattr('simpleattn.runs._uid', lambda: os.getuid()+1)
    monkeypatch.setattr('simpleattn.runs.parked_folders', lambda root: [folder])
    assert not waiting_records(tmp_path/'runs'), 'of another user'

def test_where_nothing_can_be_kept_it_is_said_that_the_run_is_lost(tmp_path, state, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path/'file'))
    for o in ('runs','state','file'): (tmp_path/o).write_text('a file')
    with pytest.raises(CliError, match='cannot be written.*this run is lost') as e: write_run(a_run(), tmp_path/'runs')
    assert not isinstance(e.value, Parked)

@pytest.mark.parametrize('kept', [True,False])
def test_a_study_goes_on_where_records_wait_and_stops_at_the_first_that_is_lost(tmp_path, state, monkeypatch, kept):
    from simpleattn import train
    started = []
    def trains(arm, seed, machine, root, **kw):
        started.append(seed)
        write_run(a_run(seed, arm.variant.name), root)
    monkeypatch.setattr(train, 'train_arm', trains)
    monkeypatch.setattr('simpleattn.models.check_networks', lambda arms: None)
    monkeypatch.setattr('simpleattn.study.Study._check_data', lambda *a: None)
    if not kept: monkeypatch.setattr('simpleattn.runs._park', lambda *a: None)
    study = a_study(tmp_path)
    (tmp_path/'tiny').write_text('a file in the place of the folder')
    with pytest.raises(CliError, match='cannot be written' if kept else 'this run is lost'): study.run('serial', device='cpu', progress=False)
    assert len(started)==(4 if kept else 1)

def test_train_says_that_its_record_had_waited(tmp_path, state):
    from simpleattn.recipes import load_recipes
    from simpleattn.runs import env_name
    run,runs = stub_run(load_recipes()['demo'], get_variant('baseline'), 0, env_name('cpu')), tmp_path/'runs'
    runs.mkdir()
    (runs/'demo').write_text('a file in the place of the folder')
    with pytest.raises(Parked): write_run(run, runs)
    (runs/'demo').unlink()
    code,out,err = cli_main(['train','demo','--device','cpu','--root',runs])
    assert (code,err)==(0,'') and f'{100*run.acc:.1f}' in out and 'had waited to be published' in out and find_runs(runs)[0]==[run]
    code,out,err = cli_main(['train','demo','--device','cpu','--root',runs])
    assert code==2 and 'is there already' in err

STUDY = '''
import sys
import stub_train
from simpleattn import files,cli
files.pauses = (.01,)
sys.exit(cli.main(['study','demo','--variants','baseline,simple','--runs','3','--name','s','--engine','serial','--root',sys.argv[1],'--device','cpu']))
'''

def test_a_study_goes_on_while_its_store_cannot_be_written_and_the_same_command_publishes(tmp_path, state):
    env = dict(PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT/'tests')]), STUB_LOG=str(tmp_path/'log'), STUB_SECONDS='0', XDG_STATE_HOME=str(state))
    runs = tmp_path/'runs'; runs.mkdir()
    (runs/'demo').write_text('a file in the place of the folder')
    res = python(STUDY, runs, env=env, cwd=tmp_path)
    assert res.returncode==2 and 'cannot be written' in res.stderr.splitlines()[-1] and 'Traceback' not in res.stderr, res.stderr
    assert len((tmp_path/'log').read_text().splitlines())==6 and '6/6 runs, 0 failed' in res.stderr
    (runs/'demo').unlink()
    res = python(STUDY, runs, env=env, cwd=tmp_path)
    assert len(find_runs(runs)[0])==6 and 'cannot be written' not in res.stderr, res.stderr
    assert len((tmp_path/'log').read_text().splitlines())==6, 'no run is made twice'

# ---- declarations on two machines

GROW = '''
import errno,fcntl,os,sys
import fsspec,s3fs,upath
from simpleattn.recipes import Recipe
from simpleattn.study import Study,load_study
from simpleattn.variants import Variant
def no_locks(*args): raise OSError(errno.ENOLCK, 'No locks available')
fcntl.lockf = no_locks
root,rounds,n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def mine(k, who): return Variant(f'mine-{k}-{who}', 'simpleattn.attention:SimpleSelfAttention', kwargs=dict(ks=1+2*(k*n+who)))
def study(*more): return Study('s', ['baseline', 'simple', *more], 4, recipe=Recipe('tiny'), root=root, env='cpu-torch2.15')
for k in range(rounds): # nothing of the store is open in the parent
    gates = [os.pipe() for _ in range(n)]
    pids = []
    for who in range(n):
        if not (pid := os.fork()):
            for r,w in gates: os.close(w)
            os.read(gates[who][0], 1)
            try: study(mine(k, who)).declare(); os._exit(0)
            except BaseException: import traceback; traceback.print_exc(); os._exit(1)
        pids.append(pid)
    for r,w in gates: os.close(r); os.close(w)
    print(*[os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids])
'''

@pytest.mark.parametrize('root,n', [('folder', 2), *(pytest.param(o, 4, marks=pytest.mark.slow) for o in ('folder','s3'))], indirect=['root'])
def test_growths_at_the_same_moment_lose_no_arm_with_locks_or_without(root, n, count):
    "12 rounds, the first of which declares the study"
    res = python(GROW, root, 12, n, env=dict(PYTHONPATH=str(ROOT)))
    assert set(res.stdout.split())=={'0'} and 'Traceback' not in res.stderr, res.stderr
    declared = load_study('s', root)
    assert sorted(declared.arms)==sorted(['baseline','simple',*(f'mine-{k}-{who}' for k in range(12) for who in range(n))])
    assert sum(len(g['arms']) for g in declared.declare()['growth'])==12*n-1, 'each growth is told once; one came with the declaration'
    count(declarations_at_once=12*n, lost=2+12*n-len(declared.arms), tracebacks=res.stderr.count('Traceback'))

def test_a_growth_with_other_arms_or_seeds_is_still_refused(root):
    a_study(root, seeds=[0,1]).declare(); a_study(root, seeds=[0,1,5]).declare()
    with pytest.raises(CliError, match='in this order'): a_study(root, seeds=[0,1,7]).declare()
    with pytest.raises(CliError, match='has changed'): Study('s', ['baseline', Variant('simple', 'simpleattn.attention:SelfAttention')], 2, recipe=Recipe('tiny'), root=root, env=ENV).declare()
    assert load_study('s', root).seeds==[0,1,5]

def test_the_tenth_growth_is_read_after_the_second(tmp_path):
    a_study(tmp_path).declare()
    for seed in range(2, 14): write_declaration(tmp_path, 's', dict(date='2026-01-01T00:00:00Z', runs_before=seed, arms=[], seeds=[seed]), growth=True)
    assert read_declaration(tmp_path, 's')['seeds']==[*range(14)]

def three_growths(root):
    for more in range(4): a_study(root, seeds=2+more).declare()
    return root/'_studies'/'s.growth'

def to_link(p): p.rename(p.with_name('moved')); p.symlink_to('moved')
LOST = {'the first growth':lambda g: (g/'1.json').unlink(), 'a growth in the middle':lambda g: (g/'2.json').unlink(), 'the declaration':lambda g: g.with_name('s.json').unlink(),
    'a growth is a link':lambda g: to_link(g/'2.json'), 'the last growth is a link':lambda g: to_link(g/'3.json'), 'a growth is a folder':lambda g: ((g/'3.json').unlink(), (g/'3.json').mkdir()),
    'all growth is a link':to_link, 'all growth is a file':lambda g: (shutil.rmtree(g), g.write_text(''))}

@pytest.mark.parametrize('how', LOST)
def test_a_growth_that_is_lost_or_linked_never_shrinks_the_family(tmp_path, how):
    "Reading, declaring and training are refused with the file that is meant"
    LOST[how](three_growths(tmp_path))
    before = everything(tmp_path)
    for read in (lambda: read_declaration(tmp_path, 's'), lambda: load_study('s', tmp_path), lambda: a_study(tmp_path, seeds=5).declare(), lambda: a_study(tmp_path, seeds=3)):
        with pytest.raises(CliError, match=r'_studies/s\.(growth|json)'): read()
    for verb in ('compare','report'): assert cli_main([verb,'s','--root',tmp_path])[0]==2
    assert everything(tmp_path)==before

LINKED = {'a recipe':'tiny', 'a variant':'tiny/simple', 'an env':f'tiny/simple/{ENV}', 'a record':f'tiny/simple/{ENV}/0.json'}

@pytest.mark.parametrize('what', LINKED)
def test_records_behind_a_link_are_not_missing(tmp_path, what):
    for variant in ('baseline','simple'):
        for seed in range(3): write_run(a_run(seed, variant), tmp_path)
    a_study(tmp_path, seeds=3).declare()
    to_link(tmp_path/LINKED[what])
    with pytest.raises(CliError, match=f'{LINKED[what]} is a link'): load_study('s', tmp_path).read()
    code,out,err = cli_main(['compare','s','--root',tmp_path])
    assert code==2 and f'{LINKED[what]} is a link' in err and not out, out+err

def test_the_growth_of_an_older_declaration_stands_in_its_file_and_newer_ones_beside(tmp_path):
    p = tmp_path/'_studies'/'s.json'
    a_study(tmp_path, seeds=2).declare()
    old = json.loads(p.read_text())
    p.write_text(json.dumps(old|dict(seeds=[0,1,2], growth=[dict(date='', runs_before=4, arms=[], seeds=[2])])))
    a_study(tmp_path, seeds=4).declare()
    assert [g['seeds'] for g in load_study('s', tmp_path).declare()['growth']]==[[2],[3]] and load_study('s', tmp_path).seeds==[0,1,2,3]

# ---- what is checked when it is read

def other_recipe(d): d['recipe']['lr'] = 1.
def other_variant(d): d['variant']['kwargs'] = dict(ks=3)
def other_part(d): d['variant']['also'] = [get_variant('attention-stem').to_dict()|dict(kwargs=dict(kind='standalone'))]
RESEALED = {'accuracy':(lambda d: d.update(acc=.9), 'last epoch'), 'bits':(lambda d: d.update(correct=a_run(0, acc=.9).correct), 'bits are set'), 'bits that are none':(lambda d: d.update(correct='!'*4), 'base64'),
    'recipe':(other_recipe, 'recipe is not the one'), 'hash of the recipe':(lambda d: d.update(recipe_hash='0'*12), 'recipe is not the one'), 'a key that no recipe has':(lambda d: d['recipe'].update(colour=1), 'newer schema'),
    'arguments of the layer':(other_variant, 'variant is not the one'), 'site':(lambda d: d['variant'].update(site='2.-1'), 'variant is not the one'), 'another layer':(lambda d: d['variant'].update(layer='simpleattn.attention:SelfAttention'), 'variant is not the one'),
    'no layer':(lambda d: d['variant'].update(layer=None), 'variant is not the one'), 'a part':(other_part, 'variant is not the one'), 'no pipeline':(lambda d: d.update(pipeline=0), 'pipeline 0 is no version'), 'no schema':(lambda d: d.update(schema=-1), 'schema -1 is no version')}

@pytest.mark.parametrize('how', RESEALED)
def test_a_record_that_was_changed_and_sealed_anew_contradicts_itself(tmp_path, how):
    p = write_run(a_run(3, 'simple', acc=.4), tmp_path)
    change,says = RESEALED[how]
    sealed(change)(p)
    good,bad = find_runs(tmp_path)
    assert good==[] and says in bad[str(p)]

@pytest.mark.parametrize('text', ['{"acc": 0.99,','{"recipe": {},'])
def test_a_record_with_a_key_twice_is_not_believed(tmp_path, text):
    p = write_run(a_run(3, 'simple', acc=.4), tmp_path)
    p.write_text(p.read_text().replace('{', text, 1))
    good,bad = find_runs(tmp_path)
    assert good==[] and 'has the key' in bad[str(p)]

def test_a_declaration_with_a_key_twice_is_damaged(tmp_path):
    a_study(tmp_path).declare()
    p = tmp_path/'_studies'/'s.json'
    p.write_text(p.read_text().rstrip().removesuffix('}')+', "alpha": 0.4}')
    with pytest.raises(CliError, match="an object has the key 'alpha' twice"): load_study('s', tmp_path)

@pytest.mark.parametrize('name', ['../x','a/b','/etc','','.','..'])
def test_a_declared_recipe_whose_name_is_no_folder_is_damaged(tmp_path, name):
    a_study(tmp_path).declare()
    p = tmp_path/'_studies'/'s.json'
    said = json.loads(p.read_text())
    said['arms'][0]['recipe'] = name
    p.write_text(json.dumps(said))
    with pytest.raises(CliError, match='is not the name of a recipe'): load_study('s', tmp_path)

@pytest.mark.parametrize('key', ['split','noise','bs','epochs','dataset','source','size'])
def test_a_record_that_leaves_out_a_default_is_read_with_it(tmp_path, key):
    from simpleattn.board import board_entries
    from simpleattn.report import make_report,to_html
    s = a_study(tmp_path)
    for arm in s.arms:
        for seed in s.seeds:
            p = write_run(a_run(seed, arm, acc=.4), tmp_path)
            assert key in json.loads(p.read_text())['recipe']
            sealed(lambda d: d['recipe'].pop(key))(p)
    good,bad = find_runs(tmp_path)
    assert bad=={} and {r.settings[key] for r in good}=={getattr(Recipe('tiny'), key)}
    assert len(board_entries(tmp_path))==2 and s.name in to_html(make_report(s))

@pytest.mark.parametrize('gone', ['root','declarations'])
def test_a_study_whose_folder_is_moved_away_stops_and_says_so(tmp_path, monkeypatch, gone):
    import shutil,stub_runs
    from simpleattn import engines
    for k,v in dict(STUB_LOG=tmp_path/'log', STUB_SECONDS=0).items(): monkeypatch.setenv(k, str(v))
    monkeypatch.setitem(sys.modules, 'simpleattn.train', stub_runs)
    s,run = a_study(tmp_path/'runs', seeds=3),engines.run_task
    def moved_after_two(*args, **kwargs):
        ended = run(*args, **kwargs)
        if not (tmp_path/'elsewhere').exists() and len(find_runs(tmp_path/'runs')[0])==2: shutil.move(tmp_path/'runs'/('_studies' if gone=='declarations' else ''), tmp_path/'elsewhere')
        return ended
    monkeypatch.setattr(engines, 'run_task', moved_after_two)
    with pytest.raises(CliError, match="The declaration of study 's' is gone from"): s.run('serial', progress=False)

@pytest.mark.parametrize('name', ['a.failed-1','a.corrupt-2','b.failed-1.json'])
def test_names_that_look_like_failed_tries_hide_no_record(tmp_path, name):
    v = Variant(name, 'simpleattn.attention:SimpleSelfAttention')
    from stub_runs import stub_run
    for recipe in ('tiny', name): write_run(stub_run(Recipe(recipe), v, 0, ENV), tmp_path)
    assert len(find_runs(tmp_path)[0])==2 and len(arm_runs(tmp_path, read_arm(v, Recipe('tiny')), ENV)[0])==1

def test_a_stray_file_with_a_digit_that_is_no_number_is_named(tmp_path):
    p = write_run(a_run(), tmp_path)
    shutil.copy(p, p.with_name('\u00b2.json'))
    assert [o.seed for o in find_runs(tmp_path)[0]]==[0] and len(find_runs(tmp_path)[1])==1

# ---- verify and merge

def test_verify_counts_damaged_declarations_apart_from_damaged_tries(tmp_path):
    a_study(tmp_path).declare()
    Path(write_failure('tiny','baseline',ENV,0,'e',tmp_path)).write_text('{')
    code,out,err = cli_main(['runs','--verify','--root',tmp_path])
    assert code==1 and '1 declarations and states of races; 0 not believed' in out and 'failed-1.json' in err, out+err

def test_verify_fails_for_a_root_that_is_not_there(tmp_path):
    code,out,err = cli_main(['runs','--verify','--root',tmp_path/'rusn'])
    assert code==2 and f'no store at {tmp_path}/rusn' in err
    (tmp_path/'file').write_text('x')
    assert cli_main(['runs','--verify','--root',tmp_path/'file'])[0]==2

def growth_of(root): return root/'_studies'/'s.growth'/'1.json'
def change_json(p, **kw): p.write_text(json.dumps(json.loads(p.read_text())|kw))
WRONG = {'a declaration that is cut':lambda r: os.truncate(r/'_studies'/'s.json', 100), 'of another name':lambda r: change_json(r/'_studies'/'s.json', name='t'), 'seeds of another type':lambda r: change_json(r/'_studies'/'s.json', seeds='all'),
    'an arm of another definition':lambda r: change_json(r/'_studies'/'s.json', arms=[json.loads((r/'_studies'/'s.json').read_text())['arms'][1]|dict(variant=get_variant('self').to_dict()|dict(name='simple', hash=get_variant('simple').hash))]),
    'a growth that is cut':lambda r: os.truncate(growth_of(r), 30), 'a growth without a number':lambda r: growth_of(r).rename(growth_of(r).with_name('x.json')),
    'a race file that is cut':lambda r: os.truncate(r/'_studies'/'s.race.jsonl', 50), 'an arm that does not race':lambda r: (r/'_studies'/'s.race.jsonl').write_text('{"arm": "mine", "seed": 0, "verdict": "better"}\n'),
    **{f'{k} = {v!r}':lambda r, k=k, v=v: change_json(r/'_studies'/'s.json', **{k:v}) for k,v in [('alpha',float('nan')),('alpha',-1),('alpha',5),('delta',float('inf')),('delta',-.01),('delta',21),
        ('seeds',[0,0,1,2]),('seeds',[-1,10**30]),('seeds',[]),('baseline','nope'),('contrasts',[[]]),('contrasts',[['simple']]),('contrasts',[['simple','nope']]),('env','*'),('env',''),('pairs_before',-4)]},
    'an arm that stands twice':lambda r: change_json(r/'_studies'/'s.json', arms=2*json.loads((r/'_studies'/'s.json').read_text())['arms']), 'a growth with runs before none':lambda r: change_json(growth_of(r), runs_before=-1),
    'a race of no study':lambda r: (r/'_studies'/'s.race.jsonl').rename(r/'_studies'/'t.race.jsonl')}

@pytest.mark.parametrize('how', WRONG)
def test_verify_checks_declarations_and_races(tmp_path, how):
    raced = dict(arms=1, looks=None, cap=None)
    for v in ('baseline','simple'):
        for s in range(2): write_run(a_run(s, v), tmp_path)
    a_study(tmp_path, raced=raced).declare(); a_study(tmp_path, seeds=3, raced=raced).declare()
    load_study('s', tmp_path).read().keep_race(False)
    code,out,err = cli_main(['runs','--verify','--root',tmp_path])
    assert code==0 and '4 records' in out and '3 declarations and states of races; 0 not believed' in out, out+err
    WRONG[how](tmp_path)
    code,out,err = cli_main(['runs','--verify','--root',tmp_path])
    assert code==1 and '_studies/' in err and 'Traceback' not in err, out+err
    if 'race' not in how: assert cli_main(['compare','s','--root',tmp_path])[0]==2

def test_a_merge_of_the_same_results_in_other_times_is_fine_and_says_so(root, tmp_path):
    for s in range(3): write_run(a_run(s), root); write_run(a_run(s, wall_seconds=50.+s, machine=dict(finished='2027-01-01T00:00:00Z', device='cpu', commit='abc')), tmp_path/'other')
    write_run(a_run(3), tmp_path/'other')
    before = (as_root(root)/a_run().path).read_bytes()
    code,out,err = cli_main(['runs','--root',root,'--merge',tmp_path/'other'])
    assert code==0 and '1 files copied, 3 were there, 0 differ' in out and '3 are the same result, made at another time' in out and err=='', out+err
    assert (as_root(root)/a_run().path).read_bytes()==before

def test_a_merge_takes_the_growth_of_a_study_along(root, tmp_path):
    a_study(root).declare(); (tmp_path/'other'/'_studies').mkdir(parents=True)
    (tmp_path/'other'/'_studies'/'s.json').write_bytes((as_root(root)/'_studies'/'s.json').read_bytes())
    a_study(tmp_path/'other', seeds=4).declare()
    merged = merge_runs(tmp_path/'other', root)
    assert (len(merged.copied),len(merged.there),merged.differ)==(1,1,[]) and load_study('s', root).seeds==[0,1,2,3]

def test_a_merge_from_a_bucket_writes_nothing_outside_of_its_target(s3, tmp_path):
    import boto3
    client = boto3.client('s3')
    evil = write_failure('tiny','baseline',ENV,0,'e',tmp_path/'made').read_bytes()
    for key in ('runs/../../../pwned.failed-1.json','runs/../x/y/0.json','runs/a/../b/0.failed-1.json','runs/tiny/baseline/..\\..\\x/0.failed-1.json'): client.put_object(Bucket='bucket', Key=f'evil/{key}', Body=evil)
    write_run(a_run(), 's3://bucket/evil/runs')
    target = tmp_path/'deep'/'deeper'/'runs'
    merged = merge_runs('s3://bucket/evil/runs', target)
    assert len(merged.copied)==1 and [o[0] for o in everything(tmp_path/'deep')]==[f'deeper/runs/{a_run().path}'] and len(merged.corrupt)>=2

def test_a_merge_believes_nothing_unread_and_follows_no_link(tmp_path):
    source,secret = tmp_path/'source', tmp_path/'secret'
    secret.mkdir(); (secret/'s.json').write_text('secret'); (secret/'1.failed-1.json').write_text('secret')
    a_study(source).declare()
    good = write_failure('tiny','baseline',ENV,7,'e',source)
    (good.with_name('1.failed-1.json')).symlink_to(secret/'1.failed-1.json')
    (good.with_name('2.failed-1.json')).write_text('anything')
    shutil.copy(good, good.with_name('3.failed-1.json'))
    (source/'_studies'/'linked.json').symlink_to(secret/'s.json')
    (source/'_studies'/'other.json').write_text('{"arms": "none"}')
    shutil.copy(source/'_studies'/'s.json', source/'_studies'/'copy.json')
    merged = merge_runs(source, tmp_path/'target')
    assert sorted(o for o,_ in everything(tmp_path/'target'))==['_studies/s.json', f'tiny/baseline/{ENV}/7.failed-1.json']
    assert sorted(merged.corrupt)==[*(f'_studies/{o}.json' for o in ('copy','linked','other')), *(f'tiny/baseline/{ENV}/{k}.failed-1.json' for k in (1,2,3))]

IN_THE_WAY = {**LINKED, 'a declaration':'_studies/s.json', 'the declarations':'_studies', 'growth':'_studies/s.growth', 'a growth':'_studies/s.growth/1.json'}

@pytest.mark.parametrize('what', IN_THE_WAY)
def test_a_merge_names_what_lies_behind_a_link(tmp_path, what):
    source = tmp_path/'source'
    for variant in ('baseline','simple'): write_run(a_run(0, variant), source)
    a_study(source).declare(); a_study(source, seeds=3).declare()
    link(source, IN_THE_WAY[what], tmp_path/'larger-disc')
    code,out,err = cli_main(['runs','--merge',source,'--root',tmp_path/'target'])
    assert code==1 and f'{source/IN_THE_WAY[what]}: is a link' in err and '1 not believed' in out, out+err

@pytest.mark.parametrize('what', LINKED)
@pytest.mark.parametrize('verb', [['leaderboard'],['leaderboard','--fmt','json'],['leaderboard','--env',ENV],['leaderboard','--pr','tiny/baseline'],['runs'],['runs','--fmt','csv'],
    ['runs','--recipe','tiny'],['runs','--recipe','tiny','--variant','simple'],['plan','tiny','--env',ENV]], ids=' '.join)
def test_lists_leave_nothing_out_that_lies_behind_a_link(tmp_path, monkeypatch, what, verb):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'settings.ini').write_text('[tiny]\n')
    for variant in ('baseline','simple'):
        for seed in range(3): write_run(a_run(seed, variant), 'runs')
    assert cli_main(verb)[0]==0 or '--pr' in verb
    to_link(tmp_path/'runs'/LINKED[what])
    code,out,err = cli_main(verb)
    assert code==2 and out=='' and f'runs/{LINKED[what]} is a link, or not the plain file or folder that its name says' in ' '.join(err.split()), out+err

# ---- a disk without hard links

def without_links(monkeypatch, code=errno.EOPNOTSUPP):
    def link(*args): raise OSError(code, os.strerror(code))
    monkeypatch.setattr(os, 'link', link)

@pytest.mark.parametrize('code', [errno.EOPNOTSUPP,errno.EPERM,errno.ENOSYS,errno.ENOTSUP], ids=errno.errorcode.get)
def test_a_disk_without_hard_links_holds_a_store(tmp_path, monkeypatch, code):
    without_links(monkeypatch, code)
    probe(tmp_path)
    write_run(a_run(), tmp_path)
    a_study(tmp_path).declare(); a_study(tmp_path, seeds=3).declare()
    for again in (lambda: write_run(a_run(acc=.3), tmp_path), lambda: put(tmp_path, '_studies/s.json', 'x')):
        with pytest.raises(FileExistsError): again()
    assert find_runs(tmp_path)==([a_run()],{}) and read_declaration(tmp_path, 's')['seeds']==[0,1,2]
    assert not [o.name for o in tmp_path.rglob('.*') if o.name!='.lock']

def test_a_name_that_was_taken_and_not_written_is_free_again(tmp_path, monkeypatch):
    without_links(monkeypatch)
    replace = os.replace
    def fails_once(*args):
        monkeypatch.setattr(os, 'replace', replace)
        raise OSError(errno.EIO, 'Input/output error')
    monkeypatch.setattr(os, 'replace', fails_once)
    with pytest.raises(CliError, match='cannot be written'): put(tmp_path, 'x.json', 'x', patient=False)
    assert [*tmp_path.iterdir()]==[]
    put(tmp_path, 'x.json', 'x')
    assert get(tmp_path, 'x.json')==b'x'

def test_a_name_that_another_process_has_taken_is_waited_for(tmp_path, monkeypatch):
    without_links(monkeypatch)
    (tmp_path/'x.json').touch()
    monkeypatch.setattr(files.time, 'sleep', lambda seconds: (tmp_path/'x.json').write_text('theirs'))
    with pytest.raises(FileExistsError): put(tmp_path, 'x.json', 'ours')
    assert get(tmp_path, 'x.json')==b'theirs'

def test_an_empty_file_that_stays_is_named(tmp_path, monkeypatch):
    "Of a process that was killed in that moment"
    without_links(monkeypatch)
    (tmp_path/'x.json').touch()
    monkeypatch.setattr(files.time, 'sleep', lambda seconds: None)
    with pytest.raises(CliError, match='x.json.*an empty file of that name is there: if no other process is writing it, remove it'): put(tmp_path, 'x.json', 'ours')

def test_a_signal_that_comes_as_a_file_gets_its_name_loses_nothing(tmp_path, monkeypatch):
    without_links(monkeypatch)
    replace = os.replace
    def stopped(*args):
        replace(*args)
        raise KeyboardInterrupt
    monkeypatch.setattr(os, 'replace', stopped)
    with pytest.raises(KeyboardInterrupt): put(tmp_path, 'x.json', 'x')
    assert get(tmp_path, 'x.json')==b'x'

ONE_OF_MANY = '''
import errno,os,sys
from simpleattn.files import get,put
def link(*args): raise OSError(errno.EOPNOTSUPP, 'Operation not supported')
os.link = link
root,me = sys.argv[1:]
for k in range(200):
    try: put(root, f'{k}.json', f'{me} {k}'*1000); print(k)
    except FileExistsError: assert get(root, f'{k}.json').endswith(f' {k}'.encode())
'''

def test_of_several_writers_without_hard_links_one_wins_each_name(tmp_path):
    import subprocess
    writers = [subprocess.Popen([sys.executable, '-c', ONE_OF_MANY, tmp_path, str(o)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH':str(ROOT)}) for o in range(4)]
    said = [o.communicate(timeout=120) for o in writers]
    assert [err for _,err in said]==['']*4
    won = {me:{int(k) for k in out.split()} for me,(out,_) in enumerate(said)}
    assert sum(map(len, won.values()))==200 and all(get(tmp_path, f'{k}.json')==(f'{me} {k}'*1000).encode() for me,names in won.items() for k in names)

def test_a_merge_into_a_linked_folder_is_refused(tmp_path):
    write_run(a_run(), tmp_path/'source')
    (tmp_path/'home').mkdir(); (tmp_path/'target').mkdir(); (tmp_path/'target'/'tiny').symlink_to(tmp_path/'home')
    with pytest.raises(CliError, match='is a link'): merge_runs(tmp_path/'source', tmp_path/'target')
    assert list((tmp_path/'home').iterdir())==[]

def test_a_record_is_set_aside_under_a_free_name_and_never_over_another(root):
    for k in (1,2,3):
        p = write_run(a_run(), root)
        p.write_text(f'broken {k}')
        assert set_aside(p).name==f'0.corrupt-{k}.json'
    assert [o.rpartition('/')[2] for o in list_files(root)]==[f'0.corrupt-{k}.json' for k in (1,2,3)] and not is_there(root, a_run().path)
    assert sorted(c for _,c in get_many(root, list_files(root)))==[b'broken 1',b'broken 2',b'broken 3']

# ---- locks, parked records and archives that are not whole

@pytest.mark.parametrize('how', ['folder','pipe'])
def test_a_lock_that_is_no_plain_file_costs_the_report_and_not_the_comparison(tmp_path, how):
    for v in ('baseline','simple'):
        for s in (0,1): write_run(a_run(s, v), tmp_path)
    a_study(tmp_path).declare()
    lock = tmp_path/'.lock'
    lock.mkdir() if how=='folder' else os.mkfifo(lock)
    code,out,err = cli_main(['compare','s','--root',tmp_path])
    assert code==0 and 'simple' in out and 'Report:' not in out, out+err
    assert 'The report was not written' in err.splitlines()[-1] and str(lock) in err and 'Traceback' not in err

def test_a_lock_is_the_groups_where_the_folder_is(tmp_path):
    for name,folder,lock in (('group',0o775,0o664), ('own',0o755,0o644)):
        (tmp_path/name).mkdir(); (tmp_path/name).chmod(folder)
        with claim(tmp_path/name, 'x') as ours: assert ours
        assert (tmp_path/name/'.lock').stat().st_mode & 0o777==lock

AS_ANOTHER = ['setpriv','--bounding-set=-dac_override,-dac_read_search,-fowner,-chown'] if os.getuid()==0 else [] # even root is then held to what a file allows
needs_setpriv = pytest.mark.skipif(os.getuid()==0 and not shutil.which('setpriv'), reason='root may write everything, and there is no setpriv')

def a_study_with_runs(root):
    for v in ('baseline','simple'):
        for s in (0,1): write_run(a_run(s, v, acc=.5+.1*s), root)
    a_study(root).declare()

def owned(root, uid, mode):
    "All of a store belongs to a user, with these rights for folders; files have them without the right to enter"
    for o in (root, *root.rglob('*')):
        if os.getuid()==0: os.chown(o, uid, uid)
        o.chmod(mode if o.is_dir() else mode & 0o666)

@pytest.mark.slow
@needs_setpriv
@pytest.mark.parametrize('uid,mode', [(0, 0o555), (1000, 0o755), (1000, 0o555)], ids=['read-only','of another user','of another user, read-only'])
def test_a_store_that_may_only_be_read_is_read_and_nothing_is_trained_for_it(tmp_path, uid, mode):
    if uid and os.getuid(): pytest.skip('only root gives files to another user')
    runs = tmp_path/'runs'
    a_study_with_runs(runs)
    (runs/'.lock').touch()
    owned(runs, uid, mode)
    before = everything(runs)
    def as_another(*words): return run_process(*AS_ANOTHER, sys.executable, '-m', 'simpleattn', *words, '--root', runs, cwd=tmp_path, env=dict(PYTHONPATH=str(ROOT)))
    try:
        for words in (['runs'], ['runs','--verify'], ['leaderboard'], ['compare','s'], ['report','s','--out',tmp_path/'out']):
            res = as_another(*words)
            assert res.returncode==0 and res.stdout.strip() and 'Traceback' not in res.stderr, (words, res.stderr)
            assert ('The report was not written' in res.stderr)==(words==['compare','s']), (words, res.stderr)
        for words in (['train','demo','--seed','9'], ['study','demo','--runs','2'], ['report','s']):
            res = as_another(*words)
            last = res.stderr.strip().splitlines()[-1]
            assert res.returncode==2 and 'cannot be written' in last and 'Permission denied' in last and 'Traceback' not in res.stderr, (words, res.stderr)
        assert everything(runs)==before
    finally: owned(runs, os.getuid(), 0o755)

@needs_setpriv
def test_a_record_that_another_user_keeps_for_himself_ends_the_command_and_counts_as_nothing(tmp_path):
    runs = tmp_path/'runs'
    a_study_with_runs(runs)
    mine = runs/a_run(1, 'simple').path
    if os.getuid()==0: os.chown(mine, 1000, 1000)
    mine.chmod(0o600 if os.getuid()==0 else 0)
    for words in (['compare','s'], ['runs','--verify'], ['leaderboard']):
        res = run_process(*AS_ANOTHER, sys.executable, '-m', 'simpleattn', *words, '--root', runs, env=dict(PYTHONPATH=str(ROOT)))
        assert res.returncode==2 and f'{mine} cannot be read now (Permission denied)' in res.stderr and res.stderr.count('\n')==1, res.stderr
    mine.chmod(0o644)
    assert len(find_runs(runs)[0])==4

PRIVATE = ['lost+found', *(pytest.param(o, marks=pytest.mark.slow) for o in ('.Trash-0','_reports','other','tiny/gate'))]

@needs_setpriv
@pytest.mark.parametrize('private', PRIVATE)
def test_a_private_folder_that_is_not_asked_for_stops_nothing(tmp_path, private):
    runs = tmp_path/'runs'
    a_study_with_runs(runs)
    (runs/'.lock').touch()
    (runs/private/'simple').mkdir(parents=True)
    owned(runs/private, 1000 if os.getuid()==0 else os.getuid(), 0o700 if os.getuid()==0 else 0)
    holds_none = not private[0].isalpha() or '+' in private
    def as_another(*words): return run_process(*AS_ANOTHER, sys.executable, '-m', 'simpleattn', *words, '--root', runs, cwd=tmp_path, env=dict(PYTHONPATH=str(ROOT)))
    try:
        for words in (['compare','s'], ['compare','s','--env',ENV], ['report','s','--out',tmp_path/'out']): assert (res := as_another(*words)).returncode==0, (words, res.stderr)
        if private!='tiny/gate': assert (res := as_another('runs','--recipe','tiny')).returncode==0 and 'simple' in res.stdout, res.stderr
        for words in (['runs'], ['runs','--verify'], ['leaderboard']):
            res = as_another(*words)
            assert res.returncode==(0 if holds_none else 2) and (holds_none or f'{runs/private} cannot be read now' in res.stderr), (words, res.stderr)
    finally: owned(runs/private, os.getuid(), 0o755)

@pytest.mark.parametrize('private', ['lost+found', '.Trash-0', '_x', 'other'])
def test_a_study_goes_on_beside_a_private_folder(tmp_path, monkeypatch, private):
    a_study_with_runs(tmp_path)
    (tmp_path/private/'simple'/ENV).mkdir(parents=True)
    flaky = Flaky(monkeypatch, str(tmp_path/private), 10**6, errno.EACCES)
    assert a_study(tmp_path).read().missing==[] and a_study(tmp_path, seeds=3).read().missing==[('baseline',2),('simple',2)]
    assert len(find_runs(tmp_path, 'tiny')[0])==4
    flaky.part = f'{tmp_path}/tiny/simple'
    with pytest.raises(CliError, match='cannot be read now'): a_study(tmp_path).read()

CACHE = """
from fastcore.script import CliError
from simpleattn.folders import get_path
try: get_path('shapes', 'full')
except CliError as e: print(e)
"""

@needs_setpriv
@pytest.mark.parametrize('how', ['a file in its place','read-only','read-only home'])
def test_a_cache_that_cannot_be_written_is_named_with_the_mend(tmp_path, how):
    home = tmp_path/'home'
    if how=='a file in its place': home.touch()
    else: home.mkdir(); home.chmod(0o555)
    env = dict(PYTHONPATH=str(ROOT)) | (dict(XDG_CACHE_HOME='', HOME=str(home)) if how=='read-only home' else dict(XDG_CACHE_HOME=str(home)))
    res = run_process(*AS_ANOTHER, sys.executable, '-c', CACHE, env=env)
    assert res.stderr=='' and f'The cache {home}' in res.stdout and 'cannot be written' in res.stdout and 'set XDG_CACHE_HOME' in res.stdout, res.stdout+res.stderr

def test_an_error_of_a_file_of_the_user_is_not_laid_on_the_cache(tmp_path):
    from simpleattn.folders import one_at_a_time
    mine = str(tmp_path/'mine.jpg')
    with pytest.raises(PermissionError, match='mine.jpg'):
        with one_at_a_time('x'): raise PermissionError(errno.EACCES, 'Permission denied', mine)

NO_FCNTL = '''
import sys
sys.modules['fcntl'] = None
from simpleattn.cli import main
sys.exit(main(sys.argv[1:]))
'''

@pytest.mark.parametrize('args', [['compare','s'], ['report','s'], ['leaderboard'], ['runs'], ['plan','demo','--runs','5','--sd','0.01']])
def test_what_reads_needs_no_fcntl(tmp_path, args):
    write_report_of(tmp_path/'runs')
    a_study(tmp_path/'runs').declare()
    res = python(NO_FCNTL, *args, cwd=tmp_path, env=dict(PYTHONPATH=str(ROOT)))
    assert res.returncode==0 and res.stdout and 'Error' not in res.stderr, res.stderr

def test_a_parked_record_that_the_store_never_takes_is_named_and_the_next_ones_are_tried_again(tmp_path, state, monkeypatch, capsys):
    runs = tmp_path/'runs'
    folder = parked_folders(runs)[0]
    write_run(a_run(0), runs)
    write_run(a_run(0, acc=.9), folder); write_run(a_run(1), folder)
    write_run(a_run(2), folder).write_text('broken')
    probe(runs)
    err = capsys.readouterr().err
    assert f'{folder/a_run(0).path}: differs' in err and f'{folder/a_run(2).path}: not readable' in err
    assert [r.seed for r in find_runs(runs)[0]]==[0,1] and not folder.exists()
    kept = {p.name:p for p in state.rglob('*.corrupt-1.json')}
    assert sorted(kept)==['0.corrupt-1.json','2.corrupt-1.json'] and all(str(p) in err for p in kept.values())
    asked = []
    monkeypatch.setattr('simpleattn.runs.put', lambda *args, patient=True, **kw: asked.append(patient))
    write_run(a_run(3), runs)
    assert asked==[True]

@pytest.mark.parametrize('how', ['between two members','within a member','before its end','a header that is none'])
@pytest.mark.parametrize('suffix', ['.tar','.tgz'])
def test_a_tar_file_without_its_end_is_refused(tmp_path, how, suffix):
    import io,tarfile,gzip
    from simpleattn.folders import unpack
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode='w', format=tarfile.USTAR_FORMAT) as tar:
        for k in range(4):
            member = tarfile.TarInfo(f'set/train/{k%2}/{k}.png'); member.size = 700
            tar.addfile(member, io.BytesIO(b'x'*700))
    content,size = whole.getvalue(), 512+1024 # bytes of a member
    cut = {'between two members':content[:2*size], 'within a member':content[:2*size-600], 'before its end':content[:4*size], 'a header that is none':content[:2*size]+b'?'*512+content[2*size+512:]}[how]
    for name,said in (('whole',content), ('cut',cut)): (tmp_path/f'{name}{suffix}').write_bytes(gzip.compress(said) if suffix=='.tgz' else said)
    assert len([*unpack(tmp_path/f'whole{suffix}', tmp_path/'whole').rglob('*.png')])==4
    with pytest.raises(CliError, match='cannot be unpacked'): unpack(tmp_path/f'cut{suffix}', tmp_path/'cut')
    assert not (tmp_path/'cut').exists()

# ---- what verify names

def garbage(root, name, content=b'?'):
    (root/name).parent.mkdir(parents=True, exist_ok=True)
    (root/name).write_bytes(content)

def link(root, name, to): (root/name).rename(root/to); (root/name).symlink_to(root/to)
def replaced(root, name, make):
    (root/name).unlink()
    make(root/name)

def huge(root, name):
    with open(root/name, 'wb') as f: f.truncate(2**40)

RECORD = a_run().path
STRANGE = {'a record that is a link':(lambda r: link(r, RECORD, 'elsewhere'), RECORD), 'a pipe':(lambda r: replaced(r, RECORD, os.mkfifo), RECORD), 'a folder':(lambda r: replaced(r, RECORD, os.mkdir), RECORD),
    'a folder of records that is a link':(lambda r: link(r, 'tiny/simple', 'elsewhere'), 'tiny/simple'), 'a declaration that is a link':(lambda r: link(r, '_studies/s.json', 'elsewhere'), '_studies/s.json'),
    'a folder of declarations that is a link':(lambda r: link(r, '_studies', 'elsewhere'), '_studies'), 'a race that is a folder':(lambda r: (r/'_studies'/'s.race.jsonl').mkdir(), '_studies/s.race.jsonl'),
    '_studies as a file':(lambda r: (shutil.rmtree(r/'_studies'), garbage(r, '_studies')), '_studies'), 'a growth that is a file':(lambda r: (shutil.rmtree(r/'_studies'/'s.growth'), garbage(r, '_studies/s.growth')), '_studies/s.growth'),
    'growth without a declaration':(lambda r: (r/'_studies'/'s.json').unlink(), '_studies/s.growth/1.json'), 'growth 2 without 1':(lambda r: growth_of(r).rename(growth_of(r).with_name('2.json')), '_studies/s.growth/2.json'),
    'a failed try that is none':(lambda r: garbage(r, RECORD.replace('.json','.failed-1.json')), RECORD.replace('.json','.failed-1.json')),
    'a race of arms that are lists':(lambda r: garbage(r, '_studies/s.race.jsonl', b'{"arm":["x"],"seed":0,"verdict":"better"}\n'), '_studies/s.race.jsonl'), 'a race without end':(lambda r: garbage(r, '_studies/s.race.jsonl', b'['*200000), '_studies/s.race.jsonl'),
    'a record of a terabyte':(lambda r: huge(r, RECORD), RECORD), 'a declaration of a terabyte':(lambda r: huge(r, '_studies/s.json'), '_studies/s.json')}

@pytest.mark.parametrize('how', STRANGE)
def test_verify_names_what_is_no_file_of_a_store(tmp_path, how):
    runs = tmp_path/'runs'
    for v in ('baseline','simple'): write_run(a_run(0, v), runs)
    a_study(runs).declare(); a_study(runs, seeds=3).declare()
    assert cli_main(['runs','--verify','--root',runs])[0]==0
    change,name = STRANGE[how]
    change(runs)
    code,out,err = cli_main(['runs','--verify','--root',runs])
    assert code==1 and f'{runs/name}: ' in err and 'Traceback' not in err, out+err

def test_a_folder_of_other_things_is_no_store(tmp_path):
    (tmp_path/'passwd').write_text('x')
    code,out,err = cli_main(['runs','--verify','--root',tmp_path])
    assert code==1 and f'{tmp_path}: holds other files' in err

@pytest.mark.parametrize('args', [['--verify'], ['--merge']])
def test_a_root_that_cannot_be_looked_at_is_one_sentence(tmp_path, monkeypatch, args):
    bad,real = tmp_path/'bad', os.stat
    def failing(path, *more, **kw):
        if str(path)==str(bad): raise OSError(errno.EIO, 'Input/output error')
        return real(path, *more, **kw)
    monkeypatch.setattr(os, 'stat', failing)
    words = ['runs','--root',bad,'--verify'] if args==['--verify'] else ['runs','--root',tmp_path/'runs','--merge',bad]
    code,out,err = cli_main(words)
    assert code==2 and f'{bad} cannot be read now' in err and 'Traceback' not in err

# ---- leftovers and places

def test_the_next_start_tidies_what_a_killed_process_left(tmp_path):
    import subprocess
    ended = subprocess.Popen(['true']); ended.wait()
    write_run(a_run(), tmp_path)
    names = ['.probe-{}-17', '..probe-{}-17-{}-0123abcd.tmp', RECORD.replace('0.json', '.0.json-{}-0123abcd.tmp'), '_studies/.s.json-{}-0123abcd.tmp', '_studies/s.growth/.1.json-{}-0123abcd.tmp', '_reports/s/.index.html-{}-0123abcd.tmp']
    for pid in (ended.pid, os.getpid()):
        for name in names: garbage(tmp_path, name.replace('{}', str(pid)))
    probe(tmp_path)
    left = [o for o,_ in everything(tmp_path) if o!=RECORD]
    assert left==sorted(o.replace('{}', str(os.getpid())) for o in names), 'what a living process writes stays'

def test_the_next_engine_removes_the_logs_of_drivers_that_were_killed(tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    gone,ours,other = (tmp_path/o for o in (f'simpleattn-logs-{10**9-1}-abc', f'simpleattn-logs-{os.getpid()}-abc', 'simpleattn-1000'))
    for o in (gone,ours,other): o.mkdir(); (o/'x.log').touch()
    monkeypatch.setattr('simpleattn.engines.check_sockets', lambda: None) # it makes a folder there
    from simpleattn.engines import LocalEngine
    LocalEngine(workers=1).close()
    assert {*tmp_path.iterdir()}=={ours,other}

@pytest.mark.parametrize('root', ['s3://','s3:///'])
def test_an_address_without_a_place_is_refused_for_good(root):
    with pytest.raises(CliError, match='names no place'): as_root(root)

@pytest.mark.parametrize('do', [lambda r: get(r, 300*'a'), lambda r: put(r, 300*'a', ''), lambda r: is_there(r, 300*'a'), lambda r: put(r/(300*'a'), 'b', '')], ids=['get','put','is_there','root'])
def test_a_name_that_is_too_long_is_no_matter_of_time(tmp_path, do):
    with pytest.raises(CliError, match='so long a name') as e: do(tmp_path)
    assert 'resumes' not in str(e.value)

def test_a_comparison_without_runs_says_why_they_are_not_there(tmp_path, state):
    a_study(tmp_path/'runs').declare()
    for k in range(2): write_failure('tiny', 'simple', ENV, k, 'Traceback', tmp_path/'runs', f'ValueError: cause {k} (mine.py, line 3, in forward)')
    code,_,err = cli_main(['compare','s','--root',tmp_path/'runs'])
    assert code==2 and '2 tries of simple failed: ValueError: cause 1 (mine.py, line 3, in forward)' in ' '.join(err.split())
    put(parked_folders(tmp_path/'runs')[0], a_run(0).path, 'a record')
    assert '1 finished records wait' in ' '.join(cli_main(['compare','s','--root',tmp_path/'runs'])[2].split())

def test_a_report_of_an_env_without_runs_is_refused(tmp_path):
    write_report_of(tmp_path); a_study(tmp_path).declare()
    code,out,err = cli_main(['report','s','--root',tmp_path,'--env','cpu-torch2.51'])
    assert code==2 and out=='' and ENV in err and not list((tmp_path/'_reports').rglob('cpu-torch2.51'))

def test_a_report_is_written_where_the_locale_knows_ascii_only(tmp_path):
    write_report_of(tmp_path); a_study(tmp_path).declare()
    res = python('import sys; from simpleattn.cli import main; sys.exit(main(sys.argv[1:]))', 'report', 's', '--root', tmp_path, '--out', tmp_path/'out',
        env=dict(PYTHONPATH=str(ROOT), LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0'))
    assert res.returncode==0 and (tmp_path/'out'/'index.html').is_file(), res.stderr

def test_a_temporary_folder_of_a_long_name_is_named_with_the_mend(monkeypatch):
    from simpleattn.engines import LocalEngine
    def too_long(self, *args): raise OSError('AF_UNIX path too long')
    monkeypatch.setattr(LocalEngine, '_forked', too_long)
    eng = LocalEngine(1)
    try:
        with pytest.raises(CliError, match='TMPDIR=/tmp'): eng._start(None)
    finally: eng.running.clear(); eng.close()

def test_where_workers_could_not_meet_nothing_is_declared(tmp_path, monkeypatch):
    monkeypatch.setattr('multiprocessing.connection.arbitrary_address', lambda family: f"{tmp_path}/{'x'*150}")
    monkeypatch.setattr('simpleattn.study.Study._check_data', lambda *a: None)
    monkeypatch.setattr('simpleattn.models.check_networks', lambda arms: None)
    with pytest.raises(CliError, match='TMPDIR=/tmp'): a_study(tmp_path).run('local', 1, device='cpu', progress=False)
    assert not (tmp_path/'_studies').exists()

def test_what_was_killed_while_the_cache_was_made_is_removed_by_the_next(tmp_path, monkeypatch):
    import numpy as np
    from PIL import Image
    from simpleattn.data import DecodedImages
    from simpleattn.folders import cache_dir,get_path
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    for name in ('train/a','train/b','val/a','val/b'):
        (tmp_path/'set'/name).mkdir(parents=True)
        Image.fromarray(np.zeros((8,8,3), np.uint8)).save(tmp_path/'set'/name/'0.png')
    images = lambda: DecodedImages(tmp_path/'set')
    name = images().dir.name
    shutil.rmtree(cache_dir()/name)
    for left in (f'building-{name}-abcd','.shapes-abcd','building-other-abcd'): (cache_dir()/left/'new').mkdir(parents=True)
    images(); get_path('shapes')
    assert [o.name for o in cache_dir().iterdir() if o.name.startswith(('building','.shapes'))]==['building-other-abcd'], 'the other may be in the making'

# ---- what a foreign folder of runs may hold

@pytest.mark.parametrize('linked', ['_observed', '_observed/demo', '_observed/demo/baseline/e/9', '_observed/demo/baseline/e/9/history.csv', '_observed/demo/baseline/e/9/models/model.pth'])
def test_callbacks_write_through_no_link_below_the_root(tmp_path, linked):
    from simpleattn.train import _own_folder
    victim,place = tmp_path/'home', tmp_path/'runs'/linked
    victim.mkdir(); place.parent.mkdir(parents=True)
    place.symlink_to(victim/'mine' if '.' in place.name else victim)
    with pytest.raises(CliError, match='is a link'): _own_folder(tmp_path/'runs', 'demo/baseline/e/9.json')
    assert not [*victim.iterdir()]

def test_the_folder_of_callbacks_is_made_and_used_again(tmp_path):
    from simpleattn.train import _own_folder
    folder = _own_folder(tmp_path/'runs', 'demo/baseline/e/9.json')
    (folder/'history.csv').write_text('kept')
    assert _own_folder(tmp_path/'runs', 'demo/baseline/e/9.json')==folder and (folder/'history.csv').read_text()=='kept'

def test_costs_are_measured_without_what_lies_in_the_working_folder(tmp_path, monkeypatch):
    from simpleattn.sweep import _costs_alone
    for name in ('cloudpickle','fractions','simpleattn'): (tmp_path/f'{name}.py').write_text("open('ran', 'a').write('x')\nraise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    cost, = _costs_alone([read_arm((Recipe('tiny'), 'baseline'))], by='flops')
    assert cost>0 and not (tmp_path/'ran').exists()

@pytest.mark.parametrize('text', ['=HYPERLINK("http://evil","x")', '+cmd|" /C calc"!A0', '-2+3+cmd|" /C calc"!A0', '@SUM(A1)', '\t=1+1', '\r=1', ' =1', '＝1'])
def test_a_table_for_a_spreadsheet_has_no_formula(text):
    import csv,io
    from simpleattn.words import csv_table
    cell = next(csv.DictReader(io.StringIO(csv_table([dict(a=text)]), newline='')))['a']
    assert cell=="'"+text.replace('\r', ' ') and '\r' not in csv_table([dict(a=f'a{text}')])

@pytest.mark.parametrize('value', ['+0.55 (-0.20 to +1.30)', '-1.5', '+0.60 (no interval yet)', '-0.10 pp', 'a=b', -2, -.5])
def test_numbers_stay_numbers_in_a_table_for_a_spreadsheet(value):
    from simpleattn.words import csv_table
    assert csv_table([dict(a=value)])==f'a\n{value}'

@pytest.mark.parametrize('text', ['[x](javascript:alert(1))', '![x](http://evil)', '[x][y]', '\\[x](javascript:alert(1))', '[x]: javascript:alert(1)'])
def test_markdown_has_no_link_that_a_record_wrote(text):
    from simpleattn.words import md_text,text_table
    assert '[' not in md_text(text) and '[' not in text_table(['a'], [[text]], 'md') and '&#91;x]' in md_text(text)

@pytest.mark.parametrize('error', [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_disk_that_fails_does_not_say_that_nothing_is_there(tmp_path, monkeypatch, error):
    real = os.lstat
    def fails(path, *a, **k):
        if Path(path).name=='0.json': raise OSError(error, os.strerror(error))
        return real(path, *a, **k)
    (tmp_path/'a').touch()
    assert not is_there(tmp_path, 'a/0.json') and not is_there(tmp_path, 'b/0.json') and is_there(tmp_path, 'a')
    monkeypatch.setattr(os, 'lstat', fails)
    with pytest.raises(CliError, match='cannot be read now'): is_there(tmp_path, 'b/0.json')

# ---- JSON of somebody else

DEEP = [60,700,985,2000,100_000]
def nested(depth): return depth*'[' + depth*']'

@pytest.mark.parametrize('depth', DEEP)
def test_no_reader_follows_json_as_deep_as_it_likes(tmp_path, depth):
    from simpleattn.files import read_json
    from simpleattn.runs import _sealed
    with pytest.raises(ValueError, match='nested deeper|JSON'): read_json(nested(depth))
    content = write_run(a_run(), tmp_path/'here').read_text()
    for part in ('machine','data'):
        other = tmp_path/f'other-{part}'
        facts = json.loads(content)
        del facts['sha256']
        try: text = _sealed(facts | {part:facts[part] | dict(x=json.loads(nested(depth)))})
        except RecursionError: text = content.replace(f'"{part}": {{', f'"{part}": {{"x": {nested(depth)}, ')
        garbage(other, a_run().path, text.encode())
        assert 'nested deeper' in str([*find_runs(other)[1].values()]) and merge_runs(other, tmp_path/'here').corrupt

@pytest.mark.parametrize('depth', DEEP)
@pytest.mark.parametrize('name', ['_reports/s/report.json','_studies/s.race.jsonl','_studies/s.growth/1.json','_studies/t.json'])
def test_no_command_ends_in_a_traceback_over_deep_json(tmp_path, name, depth):
    write_report_of(tmp_path); a_study(tmp_path).declare()
    (tmp_path/name).unlink(missing_ok=True)
    garbage(tmp_path, name, b'{"arms":%s}' % nested(depth).encode())
    for args in (['report','s'], ['compare','s'], ['runs','--verify']):
        code,out,err = cli_main([*args, '--root', tmp_path])
        assert code in (0,1,2) and 'Traceback' not in err and len(err)<1000

# ---- texts of somebody else

STEERING = ['a\nb','a\rb','\x1b[2J','\x9b2J','\x1b]0;x\x07','a\u2028b','\u202eabc','\x7f','\x00']
def quiet(text): return not [o for o in text if ord(o)<32 and o not in '\n\t' or 127<=ord(o)<160 or 0x2028<=ord(o)<=0x202e]

@pytest.mark.parametrize('text', STEERING, ids=ascii)
@pytest.mark.parametrize('at', ['data.source','machine.finished','reason','machine.x','data.'])
def test_a_record_whose_text_would_steer_a_terminal_is_not_believed(tmp_path, at, text):
    from simpleattn.runs import _sealed
    facts = a_run().to_dict()
    part,_,key = at.partition('.')
    if key or '.' in at: facts[part] = facts[part] | {key or text:text}
    else: facts[part] = text
    garbage(tmp_path, a_run().path, _sealed(facts).encode())
    good,bad = find_runs(tmp_path)
    assert not good and 'cannot be printed' in [*bad.values()][0]
    write_run(a_run(1), tmp_path)
    for args in (['runs'], ['runs','--fmt','csv'], ['leaderboard'], ['leaderboard','--pr','tiny/baseline'], ['runs','--verify']):
        code,out,err = cli_main([*args, '--root', tmp_path])
        assert quiet(out+err) and 'Traceback' not in err

@pytest.mark.parametrize('text', STEERING[:5], ids=ascii)
def test_a_name_that_would_steer_a_terminal_is_spelled_out(tmp_path, text):
    write_report_of(tmp_path); a_study(tmp_path).declare()
    garbage(tmp_path, f'_studies/ev{text}il.json', b'{}')
    garbage(tmp_path, f'ti{text}ny/simple/{ENV}/0.json', b'{}')
    garbage(tmp_path, f'tiny/simple/{ENV}/x{text}y.json', b'{}')
    for args in (['compare','nope'], ['report','nope'], ['runs','--verify'], ['runs'], ['leaderboard'], ['runs','--recipe','nope'], ['compare','s']):
        code,out,err = cli_main([*args, '--root', tmp_path])
        assert quiet(out+err) and not [o for o in err.split('\n') if o.startswith(('bil','bny','by'))], err
