"""Wrong input, made for every verb and option: exit status 2, one line that helps, at once, and nothing written"""
import contextlib,hashlib,io,itertools,json,os,random,shutil,time
from inspect import Parameter
from pathlib import Path
import pytest
from fastcore.docments import ann_parts,docments
from conftest import ROOT

# ---- what is given to an option, by its kind; `sure` values can never be meant

LONG,WIDE = 'x'*5000, 'ünï ☃'
NUMBERS = dict(huge='9'*30, negative='-7', letters='x', empty='', nan='nan', infinite='inf', minus_infinite='-inf', long='9'*5000, unicode=WIDE, underscore='1_0', zero='0', fraction='1.5',
    exponent='1e300', twice='two values')
TEXTS = dict(empty='', long=LONG, long_name='x'*300, unicode=WIDE, markup='<script>x</script>', upwards='../x', bytes='caf\udce9', url='http://nowhere.invalid/x', nul='a\0b',
    newline='a\nb', folder='afolder', number='-7', blank=' ', twice='two values')
PATHS = dict(TEXTS, missing='not/there', file='afile.txt', loop='loop', into_file='afile.txt/x', store='nothing://x', null='/dev/null')
WORDS = dict(empty='', long=LONG, unicode=WIDE, equals='=', no_value='lr=', no_key='=1', colons=':::', one_colon=':', word='x', bytes='caf\udce9', huge='epochs='+'9'*30, wide='widen=1e9')

# names of options whose value is a path, or free text that only the content can judge
PATH = {'root','data','settings','import_file','checkpoints','out','merge'}
FINE = {('seed','zero'), ('corr','zero'), ('corr','negative'), ('against','zero'), ('seed','letters')}

START = dict(demo=[], recipes=[], variants=[], data=['shapes'], cost=[], plan=['demo','--sd','0.01'], train=['demo'], study=['demo'], race=['demo'], compare=['demo'], report=['demo'], leaderboard=[], runs=[])

def parameters(verb):
    "(name, type, default, takes several words, is a word and no option) of a verb's parameters"
    from simpleattn.cli import verbs
    for name,o in docments(verbs[verb], full=True, returns=False, eval_str=True).items():
        kind,notes = ann_parts(o.anno)
        how = dict(*notes[1:])
        yield name, kind, o.default, how.get('nargs')=='*', not how.get('opt', o.default is not Parameter.empty)

def values(name, kind, several):
    if kind is bool: return {}
    if several: return WORDS
    if kind in (int,float): return NUMBERS
    return PATHS if name in PATH else TEXTS

def cases():
    "(id, words) of every case"
    for verb,start in START.items():
        for name,kind,default,several,is_word in parameters(verb):
            option = f"--{name.replace('_','-')}"
            for what,value in values(name, kind, several).items():
                if is_word: words = [value, *start[1:]] if what!='twice' else [*start, *start]
                elif what=='twice': words = [*start, option, '1', option, '2']
                else: words = [*start, option+'='+value] if value.startswith('-') else [*start, option, value]
                yield f'{verb} {name} {what}', [verb, *words]
            if not is_word and kind is not bool: yield f'{verb} {name} nothing', [verb, *start, option]
            if kind is bool: yield f'{verb} {name} value', [verb, *start, f'{option}=yes']

class Reached(BaseException): "A training would begin"

def place(folder):
    "A working folder with a store, a file, a folder, and a link in a circle"
    shutil.copytree(ROOT/'runs', folder/'runs')
    (folder/'afile.txt').write_text('text\n')
    (folder/'afolder').mkdir()
    (folder/'loop').symlink_to('loop')
    return folder

def listing(folder): return {str(o):o.lstat().st_mtime_ns for o in Path(folder).rglob('*') if o.name!='.lock' and not o.is_dir()}

def tried(words):
    "Exit status (or what was raised), standard output, standard error, processor seconds"
    from simpleattn.cli import main
    out,err,began = io.StringIO(),io.StringIO(),time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: code = main(words)
        except SystemExit as e: code = e.code
        except Reached: code = 'training'
        except BaseException as e: code = f'{type(e).__name__}: {e}'[:300]
    return code, out.getvalue(), err.getvalue(), time.process_time()-began

@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(place(tmp_path))
    import simpleattn.engines,simpleattn.study,simpleattn.train
    def reached(*args, **kwargs): raise Reached
    monkeypatch.setattr(simpleattn.study.Study, 'declare', reached)
    monkeypatch.setattr(simpleattn.train, 'train_arm', reached)
    return tmp_path

# ---- records and declarations that are sealed and odd

ODD = [None, True, -1, 3, 1.5, 10**30, '', 'x', '\ud800', '²', '../x', '|=1+1', [], [1], ['x'], {}, {'a':1}, {'name':3}]

def spots(facts, at=()):
    "Where values stand in JSON: paths of keys, into dicts, and into the first item of lists"
    for k,v in facts.items() if isinstance(facts, dict) else list(enumerate(facts))[:1]:
        yield (*at, k)
        if isinstance(v, (dict,list)): yield from spots(v, (*at, k))

def changed(facts, at, value):
    "A copy with one value replaced"
    facts = json.loads(json.dumps(facts))
    inner = facts
    for k in at[:-1]: inner = inner[k]
    inner[at[-1]] = value
    return facts

def resealed(facts):
    facts = {k:v for k,v in facts.items() if k!='sha256'}
    return dict(facts, sha256=hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest())

READING = [['runs'], ['runs','--verify'], ['runs','--merge','other'], ['compare','demo'], ['compare','demo','--full','--fmt','json'], ['report','demo'], ['leaderboard'], ['leaderboard','--fmt','json'], ['plan','demo']]

def odd_files():
    "(id, file below the root, its content) of every odd record and declaration"
    for file in ('demo/simple/cpu-torch2.15/1.json', '_studies/demo.json'):
        facts = json.loads((ROOT/'runs'/file).read_text())
        facts |= dict(growth=[dict(date='2026-01-01T00:00:00Z', runs_before=0, arms=[], seeds=[4])]) if 'growth' in facts else {}
        for at,value in itertools.product(spots(facts), ODD):
            if at==('sha256',): continue
            odd = changed(facts, at, value)
            yield f"{file} {'.'.join(map(str, at))} = {value!r}", file, json.dumps(resealed(odd) if 'sha256' in odd else odd)
