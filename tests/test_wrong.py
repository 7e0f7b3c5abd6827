"""Wrong input, made for every verb and option: exit status 2, one line that helps, at once, and nothing written"""
import contextlib,hashlib,io,itertools,json,os,random,shutil,time
from inspect import Parameter
from pathlib import Path
import pytest
from fastcore.docments import ann_parts,docments
from fastcore.script import CliError
from conftest import ROOT
from simpleattn.study import Study

# ---- what is given to an option, by its kind; `sure` values can never be meant

LONG,WIDE = 'x'*5000, 'ünï ☃'
NUMBERS = dict(huge='9'*30, negative='-7', letters='x', empty='', nan='nan', infinite='inf', minus_infinite='-inf', long='9'*5000, unicode=WIDE, underscore='1_0', zero='0', fraction='1.5',
    exponent='1e300', twice='two values')
TEXTS = dict(empty='', long=LONG, long_name='x'*300, unicode=WIDE, markup='<script>x</script>', upwards='../x', bytes='caf\udce9', url='http://nowhere.invalid/x', nul='a\0b',
    newline='a\nb', folder='afolder', number='-7', blank=' ', twice='two values')
PATHS = dict(TEXTS, missing='not/there', file='afile.txt', loop='loop', into_file='afile.txt/x', store='nothing://x', null='/dev/null')
WORDS = dict(empty='', long=LONG, unicode=WIDE, equals='=', no_value='lr=', no_key='=1', colons=':::', one_colon=':', word='x', bytes='caf\udce9', huge='epochs='+'9'*30, wide='widen=1e9')

PATH = {'root','data','settings','import_file','checkpoints','out','merge'}

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

def protocols():
    "Name -> a declaration of a control, a race, a sweep and matched epochs"
    demo,control = (json.loads((ROOT/'runs'/'_studies'/f'{o}.json').read_text()) for o in ('demo','control-demo'))
    labels = [a['arm'] for a in demo['arms']]
    match = dict(by='time', unit='ms an image', costs={o:1.5 for o in labels}, epochs={o:2 for o in labels}, share={o:1. for o in labels})
    more = dict(race=dict(raced=dict(arms=len(labels)-1)), sweep=dict(protocol=dict(grid=dict(lr=['1e-3']), rule='baseline', picks='highest', values=dict(demo=dict(lr='1e-3')))),
        matched=dict(protocol=dict(sweep='sweep', rule='each', picked={o:dict(lr='1e-3') for o in labels}, match=match)))
    return {'control-demo':control} | {name:demo | dict(name=name) | o for name,o in more.items()}

def whole(file):
    "What stands in a file of the odd world before anything is odd"
    name = Path(file).stem
    return protocols()[name] if name in protocols() else json.loads((ROOT/'runs'/file).read_text())

def odd_files():
    "(id, file below the root, its content) of every odd record and declaration"
    for file in ('demo/simple/cpu-torch2.15/1.json', '_studies/demo.json', *(f'_studies/{o}.json' for o in protocols())):
        facts = whole(file)
        facts |= dict(growth=[dict(date='2026-01-01T00:00:00Z', runs_before=0, arms=[], seeds=[4])]) if 'growth' in facts else {}
        for at,value in itertools.product(spots(facts), ODD):
            if at==('sha256',): continue
            odd = changed(facts, at, value)
            yield f"{file} {'.'.join(map(str, at))} = {value!r}", file, json.dumps(resealed(odd) if 'sha256' in odd else odd)

def is_believed(file, text):
    "Does what is odd pass the door of records or declarations?"
    from simpleattn.runs import check_declaration,read_run
    try:
        if file[0]=='_': check_declaration(file, text.encode())
        else: read_run(Path('runs')/file, 'runs')
    except (ValueError,CliError): return False
    return True

def odd_world(folder):
    "A working folder with a store and another one to merge, of one recipe"
    shutil.copytree(ROOT/'runs'/'demo', folder/'runs'/'demo')
    (folder/'runs'/'_studies').mkdir()
    for o in ('demo_epochs-2','_repeats'): shutil.copytree(ROOT/'runs'/o, folder/'runs'/o)
    shutil.copy(ROOT/'runs'/'_studies'/'demo.json', folder/'runs'/'_studies')
    for name,facts in protocols().items(): (folder/'runs'/'_studies'/f'{name}.json').write_text(json.dumps(facts))
    shutil.copytree(folder/'runs', folder/'other')

def read_odd(chosen):
    "Every reading verb on each of these; gives what ended in an exception"
    for what,file,text in chosen:
        before = Path('runs', file).read_bytes()
        for root in ('runs','other'): Path(root, file).write_text(text)
        its_own = [[verb, Path(file).stem] for verb in ('compare','report')] if file[0]=='_' else []
        for words in [*(READING if is_believed(file, text) else READING[:4]), *its_own]:
            code,_,err,_ = tried(words)
            if code not in (0,1,2) or 'Traceback' in err: yield what, words, code
        Path('runs', file).write_bytes(before)

_drawn = {} # what pictures are made of -> them

@pytest.fixture
def drawn_once(monkeypatch):
    "Reports whose pictures are made of the same share them: drawing takes most of the time"
    import simpleattn.report as reports
    for name in ('report_figures','_study_picture'):
        def draw(report, name=name, draw=getattr(reports, name)):
            facts, study = report.to_dict(), report.study
            made_of = json.dumps([name, study.name, study.baseline, study.delta, *(facts[o] for o in ('headline','arms','comparisons','race','runs'))])
            if made_of not in _drawn: _drawn[made_of] = draw(report)
            return _drawn[made_of]
        monkeypatch.setattr(reports, name, draw)

def odd_ones(part, count):
    "What ended in an exception, of a slice of the odd files in a drawn order"
    chosen = [*odd_files()]
    random.Random(0).shuffle(chosen)
    raised = [*read_odd(chosen[part])]
    count(odd_files=len(chosen[part]), tracebacks=len(raised))
    return raised

def test_odd_records_and_declarations_are_believed_or_named(tmp_path, monkeypatch, drawn_once, count):
    monkeypatch.chdir(tmp_path)
    odd_world(tmp_path)
    assert odd_ones(slice(8), count)==[]

BROKEN = {'control-demo':(('protocol','control'),{}), 'race':(('raced',),dict(a=1)), 'sweep':(('protocol','values'),{}), 'matched':(('protocol','match'),3)}

def test_what_a_race_or_a_protocol_says_is_believed_or_named_and_breaks_no_other_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd_world(tmp_path)
    for name,facts in protocols().items():
        file,before = Path('runs/_studies')/f'{name}.json', json.dumps(facts)
        assert is_believed(f'_studies/{name}.json', before)
        for at in [o for o in spots(facts) if o[0] in ('raced','protocol')]:
            odd = [json.dumps(changed(facts, at, value)) for value in (None, 3, 'x', [], {}, {'a':1})]
            believed = [is_believed(f'_studies/{name}.json', o) for o in odd]
            if at[-1] in ('control','match','epochs','costs','share','handicap'): assert not any(believed), at
            if at in [('raced',),('protocol',)]: assert not all(believed) and believed[0], at
        at,value = BROKEN[name]
        file.write_text(json.dumps(changed(facts, at, value)))
        for words,code in ((['runs','--verify'],1), (['compare',name],2), (['compare','demo'],0)): assert tried(words)[0]==code, (name, words)
        file.write_text(before)

@pytest.mark.slow
@pytest.mark.parametrize('first', range(0, 400, 50))
def test_records_and_declarations_with_a_field_of_another_type(tmp_path, monkeypatch, drawn_once, count, first):
    monkeypatch.chdir(tmp_path)
    odd_world(tmp_path)
    assert odd_ones(slice(first, first+50), count)==[]

# ---- the table

FOLDERS = {'unicode','markup','upwards','folder','number','missing'} # names that a folder may have
MAY_BE = {(o, what) for o in ('root','checkpoints','out','merge') for what in FOLDERS} | {('corr','zero'), ('name','folder'), ('data','upwards'), ('data','folder')}

def wrong(chosen):
    "What is not 2, one line, at once, with nothing written"
    for case,words in chosen:
        verb,name,what = case.split()
        before,there = listing('.'),set(Path().iterdir())
        code,out,err,seconds = tried(words)
        for folder in set(Path().iterdir())-there: shutil.rmtree(folder) # a store that was begun is no data of the next case
        if verb=='runs' and name in ('recipe','variant') and code==0 and (err.count('\n')==1 or what=='folder'): continue # an empty table, and a line
        if (name,what) in MAY_BE:
            if code in (0,2,'training') and 'Traceback' not in err: continue
        said = [o for o in err.strip().split('\n') if not o.startswith('Study ')]
        if code!=2 or out or len(said)!=1 or not said[0].startswith('simpleattn') or len(said[0])>2500 or seconds>5 or listing('.')!=before:
            yield case, code, err[-300:], round(seconds, 1)

def wrong_ones(chosen, count):
    "What was not answered as it should be, of these"
    wrongly = [*wrong(chosen)]
    raised = [o for o in wrongly if 'Traceback' in o[2] or o[1] not in (0, 1, 2, 'training')]
    count(wrong_inputs=len(chosen), tracebacks=len(raised))
    return wrongly

def test_some_wrong_inputs_of_each_verb(here, count):
    light = [o for o in cases() if o[0].split()[0] not in ('train','study','race','demo','cost','report')]
    assert wrong_ones(random.Random(1).sample(light, 150), count)==[]

@pytest.mark.slow
@pytest.mark.parametrize('verb', START)
def test_every_wrong_input_of_every_option(here, count, verb):
    every = [*cases()]
    assert len(every)>2000
    assert wrong_ones([o for o in every if o[1][0]==verb], count)==[]

# ---- silent cases

def said(words):
    code,out,err,_ = tried(words)
    assert code==2, (code, out, err)
    return err

@pytest.mark.parametrize('words,why', {
    'twice':(['train','demo','--seed','1','--seed','2'], '--seed is given twice'), 'two ways':(['study','demo','--runs','3','--seeds','4,5'], 'in two ways'),
    'seed alone':(['data','shapes','--seed','3'], 'nothing without --split'), 'sd-runs alone':(['plan','demo','--sd-runs','9'], 'nothing without --sd'),
    'url alone':(['leaderboard','--url','https://example.org'], 'nothing without --pr'), 'pick alone':(['study','demo','--pick','each'], '--pick'),
    'pick':(['study','demo','--set','lr=1,2','--pick','best'], 'baseline or each'), 'env':(['report','demo','--env','typo'], "no runs of env 'typo'"),
    'data of a report':(['report','demo','--data','nowhere'], 'nothing at nowhere'), 'url of a report':(['report','demo','--out','s3://b/x'], 'URL'), 'a web page':(['runs','--root','http://nowhere.invalid/x'], 'web page'),
    'empty':(['study','demo','--name',''], 'empty'), 'file as store':(['runs','--root','afile.txt'], 'not a folder'), 'no stage':(['study','demo','--variants','baseline,simple@9.-1'], 'no stage 9'),
    'wide':(['train','demo','--set','widen=1e9'], 'widen')}.values())
def test_what_was_dropped_or_misread_in_silence_is_refused(here, words, why): assert why in said(words)

@pytest.mark.parametrize('text,why', [('def f(:', 'SyntaxError'), ('1/0', 'ZeroDivisionError: division by zero, in its line 1'), ('import nowhere_at_all', "ModuleNotFoundError: No module named 'nowhere_at_all'")])
def test_a_file_that_cannot_be_imported_is_named_with_its_line(here, text, why):
    Path('mine.py').write_text(text+'\n')
    assert why in said(['variants','--import','mine.py']) and 'mine.py' in said(['cost','--import','mine.py'])

@pytest.mark.parametrize('text', ['import sys; sys.exit(0)', 'raise SystemExit', 'exit()'])
@pytest.mark.parametrize('verb', ['train','study'])
def test_a_file_that_ends_the_program_is_a_mistake(here, verb, text):
    Path('mine.py').write_text(text+'\n')
    err = said([verb,'demo','--root','fresh','--import','mine.py'])
    assert 'mine.py cannot be imported: SystemExit' in err and not Path('fresh').exists()

@pytest.mark.parametrize('words', [['--variants','baseline,simple@9.-1'], ['--engine','nope'], ['--workers','0'], ['--name','x'*300], ['--name','x'*250], ['--set','name='+'x'*300]], ids=lambda o: ' '.join(o)[:30])
@pytest.mark.parametrize('verb', ['study','race'])
def test_what_is_refused_leaves_nothing_where_runs_would_be(here, verb, words):
    err = said([verb,'demo','--root','fresh',*words])
    assert not Path('fresh').exists() and 'resumes' not in err

@pytest.mark.parametrize('error,kind', [("ValueError('the real cause\\nsecond line')",'ValueError: the real cause second line'), ('SystemExit(3)','SystemExit: 3')])
def test_what_a_layer_raises_is_one_line_with_its_kind_and_place(here, monkeypatch, error, kind):
    Path('mine.py').write_text(f'def f():\n    raise {error}\n')
    from simpleattn.variants import import_file
    def training(*args, **kwargs): import_file('mine.py').f()
    import simpleattn.train
    monkeypatch.setattr(simpleattn.train, 'train_arm', training)
    err = said(['train','demo','--root','fresh'])
    assert err.count('\n')==1 and f'{kind} (mine.py, line 2, in f)' in err

@pytest.mark.parametrize('closed', ['2>&-','>&- 2>&-'])
def test_a_stream_that_is_closed_changes_no_exit_status(tmp_path, closed):
    import subprocess,sys
    done = subprocess.run(f'"{sys.executable}" -m simpleattn compare nope --root g {closed}', shell=True, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=str(ROOT)))
    assert done.returncode==2 and not done.stdout and not done.stderr

def test_an_arm_that_can_never_run_is_found_before_anything_is_declared(here):
    s = Study('new', ['baseline','simple@9.-1'], 2, recipe='demo', root='fresh', env='cpu')
    with pytest.raises(CliError, match='no stage 9'): s.run('serial', progress=False, device='cpu')
    assert not Path('fresh/_studies').exists()

def test_a_failure_is_its_exception_and_its_place_whatever_the_log_says():
    from simpleattn.engines import _failed
    try: json.loads('{')
    except ValueError as e: ended = _failed(None, e)
    assert ended.why.startswith('json.decoder.JSONDecodeError: Expecting') and 'decoder.py, line' in ended.why and ended.error.startswith('Traceback')

OWN_LAYERS = """
from torch import nn
from simpleattn.variants import register_variant
class Plain:
    def __init__(self, c): pass
def three(c): return 3
class Raises(nn.Module):
    def __init__(self, c): super().__init__()
    def forward(self, x): raise NotImplementedError
class Asserts(Raises):
    def forward(self, x): assert x.ndim==7
for name,layer in dict(plain=Plain, three=three, raises=Raises, asserts=Asserts).items(): register_variant(name, layer)
"""

@pytest.mark.parametrize('layer', ['plain','three','raises','asserts'])
def test_an_own_layer_that_is_none_or_raises_is_one_true_line(here, layer):
    Path('mine.py').write_text(OWN_LAYERS)
    err = said(['cost','--backbone','xresnet18','--variants',layer,'--import','mine.py'])
    assert err.count('\n')==1 and layer in err and 'another size of map' not in err
    assert ('nn.Module' in err)==(layer in ('plain','three')) and ('raised in its own code' in err)==(layer in ('raises','asserts'))

@pytest.mark.parametrize('layer', ['plain','three'])
def test_training_with_what_is_no_layer_is_one_line(tmp_path, monkeypatch, layer):
    monkeypatch.chdir(place(tmp_path))
    Path('mine.py').write_text(OWN_LAYERS)
    err = said(['train','demo','--variant',layer,'--root','fresh','--import','mine.py'])
    assert 'nn.Module' in err.splitlines()[-1] and 'Traceback' not in err

@pytest.mark.parametrize('words,why', [(['runs','--merge','runs','--variant','simple'],'--variant: not for --merge'), (['runs','--merge','runs','--recipe','demo'],'--recipe: not for --merge'),
    (['runs','--merge','runs','--verify'],'--verify: not for --merge'), (['cost','--threads','2'],'nothing without --bs'), (['runs','--merge','afolder'],'neither a record nor a declaration'),
    (['runs','--root','memory://x/y'],'gone with the process'), (['train','demo','--root','memory://x/y'],'gone with the process')], ids=lambda o: ' '.join(o) if isinstance(o, list) else '')
def test_options_that_would_mean_nothing_are_refused(here, words, why): assert why in said(words)

def test_help_needs_no_docstrings():
    import subprocess,sys
    done = subprocess.run([sys.executable,'-OO','-m','simpleattn','--help'], capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=str(ROOT)))
    assert done.returncode==0 and 'leaderboard' in done.stdout and not done.stderr
