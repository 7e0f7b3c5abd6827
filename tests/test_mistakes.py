"""A user's mistake is one line that names the thing and the mend, exit status 2, and costs nothing; whatever is fed in, there is no traceback"""
import dataclasses,json,math,os,shutil,string,sys,tarfile,time
from pathlib import Path
import pytest
from hypothesis import HealthCheck,given,settings as hyp,strategies as st
from fastcore.script import CliError
from conftest import python
from simpleattn.recipes import Recipe,derive,load_recipes
from simpleattn.runs import find_runs,gpus_here,write_run
from simpleattn.study import Study
from simpleattn.variants import Variant,get_variant
from test_store import a_run,cli_main

@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

# ---- no data needed: fastai is not imported

def sets(k, v): return ['train','demo','--set',f'{k}={v}']
LIGHT = {
    'verb':(['studdy','demo'], 'studdy.*Did you mean study'), 'recipe':(['train','woof-128-4'], 'woof-128-4.*Did you mean.*woof-128-5'), 'recipe of a study':(['study','dmeo'], 'dmeo.*Did you mean demo'),
    'variant':(['train','demo','--variant','simpel'], 'simpel.*Did you mean simple'), 'variant of a study':(['study','demo','--variants','baseline,slef'], 'slef.*self'),
    'key':(sets('learning_rat','1'), "'learning_rat'"), 'key near':(sets('epoch','1'), "'epoch'.*Did you mean epochs"), 'option':(['study','demo','--wrokers','2'], r'--wrokers.*Did you mean --workers'),
    'option of train':(['train','demo','--devise','cpu'], '--devise.*--device'), 'engine':(['study','demo','--engine','rya'], "'rya'.*Did you mean ray"), 'study':(['compare','../x'], r"'\.\./x'"),
    'seed below 0':(['train','demo','--seed','-1'], 'Seed -1.*0 to 4294967295'), 'seed too large':(['train','demo','--seed',str(2**32)], 'Seed 4294967296'), 'seed a fraction':(['train','demo','--seed','1.5'], '--seed'),
    'seeds below 0':(['study','demo','--seeds','0,-3'], 'Seed -3'), 'seeds too large':(['study','demo','--seeds','0,99999999999'], 'Seed 99999999999'), 'seeds a word':(['study','demo','--seeds','0,a'], 'whole numbers'),
    'seeds twice':(['study','demo','--seeds','1,1'], 'different seeds'), 'no runs':(['study','demo','--runs','0'], 'at least two'), 'too many runs':(['study','demo','--runs','10000000'], 'at most a million'),
    **{f'{k} = {v}':(sets(k, v), rf'{k} = .*{re}') for k,v,re in [('epochs','0','above 0'), ('epochs','-1','above 0'), ('epochs','1.5','int'), ('epochs','many','int'), ('epochs','10000000','above 100000'),
        ('bs','0','above 0'), ('bs','-8','above 0'), ('bs','x','int'), ('bs','1000000','65536'), ('size','0','above 0'), ('size','-128','above 0'), ('size','100000','4096'), ('size','1e2','int'), ('lr','0','above 0'),
        ('lr','-1','above 0'), ('lr','nan','finite'), ('lr','inf','finite'), ('lr','fast','float'), ('wd','-1','below 0'), ('mixup','nan','finite'), ('backbone','','')][:-1]},
    'delta':(['study','demo','--delta','nan'], 'delta'), 'threads':(['study','demo','--threads','0'], 'threads'), 'workers':(['study','demo','--workers','0'], 'workers'), 'gpus':(['study','demo','--gpus-per-run','1.5'], 'gpus_per_run'),
    'name with a separator':(['study','demo','--name','a/b'], "'a/b'.*may hold only"), 'name with markup':(['study','demo','--name','<b>x</b>'], 'may hold only'), 'name upwards':(['study','demo','--name','..'], 'may hold only'),
    'data':(['study','demo','--data','nowhere'], 'nowhere'), 'import':(['study','demo','--import','nowhere.py'], 'nowhere.py'), 'store':(['study','demo','--root','nothing://x'], 'nothing://x'), 'merge':(['runs','--merge','nowhere'], 'nowhere'),
    'data of train':(['train','demo','--data','nowhere'], 'nothing at nowhere'), 'data set':(['data','imagewoff'], "'imagewoff'.*Did you mean imagewoof"), 'data set of a recipe':(sets('dataset','shaeps'), "'shaeps'.*Did you mean shapes"),
    'data set of a study':(['study','demo','--set','dataset=shaeps'], "'shaeps'.*Did you mean shapes"), 'device':(['train','demo','--device','tpu'], "'tpu'.*cpu or cuda"), 'device of a study':(['study','demo','--device','gpu'], "'gpu'.*cpu or cuda"),
    'address':(['study','demo','--address','auto'], 'of --engine ray'), 'variant of cost':(['cost','--variants','simpel'], 'simpel.*Did you mean simple'),
    **{f'{o} of cost':(['cost',o,'0'], f'{o} 0: give at least 1') for o in ('--size','--n-out','--threads')},
    **({} if gpus_here() else {'no GPU':(['train','demo','--device','cuda'], "'cuda'.*no GPU"), 'no GPU for a study':(['study','demo','--device','cuda'], "'cuda'.*no GPU")})}

@pytest.mark.alone
def test_each_is_one_line_with_its_mend_within_5_s_and_without_fastai():
    "All in one process, which would remember an import"
    code = '''
import contextlib,io,json,sys,time
from simpleattn.cli import main
res = {}
for k,args in json.load(sys.stdin).items():
    out,err,t = io.StringIO(),io.StringIO(),time.time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: c = main(args)
        except SystemExit as e: c = e.code
        except BaseException as e: c = repr(e)
    res[k] = c, out.getvalue(), err.getvalue(), time.time()-t, [m for m in ('torch','fastai') if m in sys.modules]
print(json.dumps(res))'''
    res = python(code, input=json.dumps({k:a for k,(a,_) in LIGHT.items()}))
    assert res.returncode==0, res.stderr
    import re
    for k,(c,out,err,seconds,heavy) in json.loads(res.stdout).items():
        said = [l for l in err.strip().split('\n') if not l.startswith(('Study ','usage:','  '))]
        assert c==2 and out=='' and len(said)==1 and said[0].startswith('simpleattn') and re.search(LIGHT[k][1], said[0]), (k, c, err)
        assert seconds<5 and heavy==[] and 'Traceback' not in err, (k, seconds, heavy)
    assert not list(Path().rglob('*.json')), 'and nothing was written'

# ---- data

def emptied(p): [f.unlink() for f in (p/'train'/'red_blue').iterdir()]; [f.unlink() for f in (p/'val'/'red_green').iterdir()]
def only_in_val(p): (p/'val'/'zebra').mkdir(); shutil.copy(next((p/'val'/'red_blue').iterdir()), p/'val'/'zebra'); shutil.rmtree(p/'val'/'red_green')
def unreadable(p):
    for f in sorted((p/'train'/'red_blue').iterdir())[:2]: f.write_bytes(f.read_bytes()[:200])
    sorted((p/'val'/'red_blue').iterdir())[0].write_text('not an image')
DATA = {'no val':(lambda p: shutil.rmtree(p/'val'), ['no val folder','train/CLASS']), 'renamed val':(lambda p: (p/'val').rename(p/'checking'), ['no val folder','it holds: checking, train','Rename']),
    'no train':(lambda p: (p/'train').rename(p/'training'), ["'tiny'",'--data']), 'empty classes':(emptied, ['train/red_blue','val/red_green','no image']), 'classes of one part':(only_in_val, ['zebra is only in val','red_green is only in train']),
    'unreadable':(unreadable, ['train/red_blue/red_blue_1.JPEG','train/red_blue/red_blue_13.JPEG','val/red_blue/red_blue_1.JPEG','3 images'])}

@pytest.mark.parametrize('what', DATA)
def test_data_that_cannot_be_meant_are_named_all_at_once(tmp_path, tiny, what):
    p = Path(shutil.copytree(tiny, tmp_path/'tiny'))
    DATA[what][0](p)
    code,out,err = cli_main(['data','tiny','--source','full','--data',p])
    assert code==2 and err.startswith('simpleattn: ') and err.count('\n')==1 and all(o in err for o in DATA[what][1]), err

@pytest.mark.parametrize('what', [k for k in DATA])
def test_training_on_such_data_is_one_line_too(tmp_path, tiny, settings, what):
    p = Path(shutil.copytree(tiny, tmp_path/'tiny'))
    DATA[what][0](p)
    code,out,err = cli_main(['train','tiny','--settings',settings,'--data',p,'--device','cpu'])
    assert code==2 and err.startswith('simpleattn: ') and err.count('\n')==1 and str(tmp_path) in err and find_runs('runs')==([],{})

def test_stray_files_are_listed_and_harm_nothing(tmp_path, tiny):
    p = Path(shutil.copytree(tiny, tmp_path/'tiny'))
    (p/'train'/'notes.txt').write_text(''); (p/'val'/'red_blue'/'Thumbs.db').write_text('')
    code,out,err = cli_main(['data','tiny','--data',p])
    assert code==0 and 'not an image: train/notes.txt' in out and 'not an image: val/red_blue/Thumbs.db' in out

def test_a_batch_larger_than_the_training_set(tiny, settings):
    code,out,err = cli_main(['train','tiny','--settings',settings,'--data',tiny,'--device','cpu','--set','bs=49'])
    assert code==2 and 'bs = 49' in err and '48 train images' in err and err.count('\n')==1

def test_an_archive_with_a_wrong_checksum_is_not_unpacked(tmp_path, tiny, cache):
    import hashlib
    a = tmp_path/'tiny.tgz'
    with tarfile.open(a, 'w:gz') as t: t.add(tiny, 'tiny')
    (tmp_path/'tiny.tgz.sha256').write_text(f'{"0"*64}  tiny.tgz\n')
    code,out,err = cli_main(['data','tiny','--data',a])
    assert code==2 and 'does not match the checksum in tiny.tgz.sha256' in err and err.count('\n')==1
    (tmp_path/'tiny.tgz.sha256').write_text(f'{hashlib.sha256(a.read_bytes()).hexdigest()}  tiny.tgz\n')
    assert cli_main(['data','tiny','--data',a])[0]==0

FIXED = '''
from torch import nn
from simpleattn.variants import register_variant
class Fixed(nn.Module):
    "Takes maps of 16 px only"
    def __init__(self, ni): super().__init__(); self.pos = nn.Linear(256, 256)
    def forward(self, x): return x + self.pos(x.flatten(2)).view_as(x)
register_variant('fixed', Fixed)
'''

def test_a_size_that_a_variant_cannot_take(tmp_path, tiny, settings):
    (tmp_path/'fixed.py').write_text(FIXED)
    code,out,err = cli_main(['train','tiny','--variant','fixed','--import','fixed.py','--settings',settings,'--data',tiny,'--device','cpu'])
    assert code==2 and "Variant 'fixed'" in err and '32 px' in err and err.count('\n')==1

@pytest.mark.parametrize('name', ['a/b','../a','<script>','a b','','A','.','a\\b','a\n'])
def test_names_with_separators_or_markup_are_refused_everywhere(tmp_path, name):
    for f in (lambda: Recipe(name), lambda: Variant(name), lambda: Study(name, ['baseline','simple'], 2, recipe=Recipe('tiny'), root=tmp_path, env='cpu')):
        with pytest.raises(CliError): f()

DECLARED = {'cut':lambda t: t[:200], 'empty':lambda t: '', 'a list':lambda t: '[]', 'no arms':lambda t: json.dumps({**json.loads(t), 'arms':None}), 'no seeds':lambda t: t.replace('"seeds"', '"sedes"'), 'binary':lambda t: '\0\x80'}

@pytest.mark.parametrize('how', DECLARED)
def test_a_damaged_declaration_is_named_and_costs_no_run(tmp_path, how):
    s = Study('s', ['baseline','simple'], 2, recipe=load_recipes()['demo'], root='runs', env='cpu')
    s.declare()
    s.file.write_text(DECLARED[how](s.file.read_text()))
    for args in (['compare','s'], ['report','s'], ['study','demo','--name','s','--device','cpu']):
        code,out,err = cli_main(args)
        assert code==2 and 's.json is damaged' in err and err.count('\n')==1, err

def test_a_disk_that_is_full_is_one_sentence_wherever_it_is_met(monkeypatch):
    import errno
    from simpleattn import cli
    def full(recipe): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'report.md')
    monkeypatch.setitem(cli.verbs, 'report', full)
    code,out,err = cli_main(['report','demo'])
    assert code==2 and err=='simpleattn: report.md cannot be written or read (No space left on device). What is finished is kept.\n'

# ---- fuzz: no input ends in a traceback

values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.floats(), max_size=4), st.tuples(st.floats(), st.floats(), st.floats()))
fields = [f.name for f in dataclasses.fields(Recipe)]
fuzz = hyp(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])

@fuzz
@given(st.dictionaries(st.sampled_from(fields), values, max_size=5), st.text(max_size=15))
def test_a_recipe_of_any_values_is_right_or_refused(changes, name):
    try: r = Recipe(**{'name':name, **changes})
    except CliError as e: assert '\n' not in str(e) or '\n' in name; return
    assert Recipe(**r.to_dict())==r and json.dumps(r.to_dict(), allow_nan=False) and len(r.hash)==12
    assert r.epochs>0 and r.bs>0 and 0<r.lr<math.inf

@fuzz
@given(st.sampled_from(fields[1:]+['colour']), st.text(max_size=12))
def test_any_text_for_a_key_is_a_recipe_or_one_sentence(key, text):
    code,out,err = cli_main(['recipes','--settings','nowhere' if False else write_settings(key, text)])
    assert code in (0,2) and 'Traceback' not in err and (code==0 or out=='' and err.startswith('simpleattn: '))

def write_settings(key, text):
    p = Path('fuzz.ini')
    p.write_text(f'[fuzz]\n{key} = {text}\n', errors='replace')
    return p

@fuzz
@given(st.binary(max_size=300))
def test_a_settings_file_of_any_bytes_is_read_or_one_sentence(b):
    Path('fuzz.ini').write_bytes(b)
    code,out,err = cli_main(['recipes','--settings','fuzz.ini'])
    assert code in (0,2) and (code==0 or err.startswith('simpleattn: '))

TEXT = None
@fuzz
@given(st.data())
def test_a_record_with_anything_changed_is_believed_or_named(tmp_path, data):
    "Bytes cut out, doubled or replaced anywhere, under the right name"
    global TEXT
    root = tmp_path/'fuzz'
    shutil.rmtree(root, ignore_errors=True)
    p = write_run(a_run(0), root)
    b = bytearray(p.read_bytes())
    for _ in range(data.draw(st.integers(1,3))):
        i,j = sorted((data.draw(st.integers(0, len(b))), data.draw(st.integers(0, len(b)))))
        b[i:j] = data.draw(st.one_of(st.binary(max_size=20), st.just(b[i:j]*2), st.sampled_from([b'NaN', b'null', b'{}', b'[]', b'1e999', b'"', b'\\u0000'])))
    p.write_bytes(bytes(b))
    good,bad = find_runs(root)
    assert good in ([],[a_run(0)]) and len(good)+len(bad)==1 and all(isinstance(o, str) and o for o in bad.values())

@fuzz
@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(type(a_run()))]), values, min_size=1, max_size=4))
def test_a_sealed_record_of_any_fields_is_believed_or_named(tmp_path, changes):
    "The seal is right, so that only the checks of the content stand between the record and the table"
    from simpleattn.runs import load_runs
    root = tmp_path/'fuzz'
    shutil.rmtree(root, ignore_errors=True)
    p = write_run(a_run(0), root)
    d = json.loads(p.read_text()); d.pop('sha256')
    d = json.loads(json.dumps(d|changes))
    import hashlib
    p.write_text(json.dumps(dict(d, sha256=hashlib.sha256(json.dumps(d, sort_keys=True).encode()).hexdigest())))
    df = load_runs(root)
    assert len(df)+len(df.attrs['corrupt'])==1
    code,out,err = cli_main(['runs','--root',root,'--fmt','json'])
    assert code==0 and len(json.loads(out))==len(df) and 'NaN' not in out and 'Traceback' not in err

@fuzz
@given(st.lists(st.text(alphabet=string.printable, max_size=12), max_size=5))
def test_any_command_line_ends_in_help_a_result_or_one_sentence(args):
    if args and args[0] in ('demo','train','study','data','cost','report'): return
    code,out,err = cli_main(args)
    assert code in (0,1,2) and 'Traceback' not in err
