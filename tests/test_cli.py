"""`simpleattn VERB`: one sentence for a mistake, and a table or JSON for a result"""
import csv,dataclasses,io,json,os,re,shutil
from types import SimpleNamespace
import pytest
from conftest import ROOT,bits,cli,python
from simpleattn import __version__
from simpleattn.cli import main,verbs
from simpleattn.recipes import Recipe,load_recipes
from simpleattn.runs import find_runs,pack_bits,this_env,write_run
from simpleattn.study import Study,load_study
from simpleattn.variants import variants
from test_runs import a_run

@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)

@pytest.fixture
def call(capsys):
    "Run one command in this process: exit status, output, errors"
    def f(*args):
        capsys.readouterr()
        try: code = main([str(o) for o in args])
        except SystemExit as e: code = e.code
        return (code or 0, *capsys.readouterr())
    return f

def table_rows(text): return [re.split(r'\s{2,}', l) for l in text.strip().split('\n')]

# ---- help

def test_help_lists_every_verb(call):
    for args in ([], ['--help'], ['-h']):
        code,out,err = call(*args)
        assert code==0 and err=='' and all(re.search(rf'^  {v} +\S', out, re.M) for v in verbs)

def test_help_is_a_word_too(call):
    assert call('help')==call('--help') and call('help','study')==call('study','--help')

def test_a_study_is_shown_with_all_its_declared_arms(call, tmp_path):
    recipe, env = load_recipes()['demo'], this_env('cpu')
    study = Study('both', ['baseline','simple','self'], seeds=3, recipe=recipe, root='runs', env=env)
    study.declare()
    for name in study.arms:
        for seed in range(3): write_run(a_run(seed, name, recipe, env, acc=(5+seed+(name=='self'))/10), 'runs')
    code,out,_ = call('study','demo','--variants','baseline,simple','--runs','3','--name','both','--device','cpu')
    assert code==0 and {row[0] for row in table_rows(out.split('\n\n')[0])} >= {'simple','self'} and len(find_runs('runs')[0])==9
    assert 'self' in (tmp_path/'runs'/'_reports'/'both'/'report.md').read_text()

def test_the_log_of_one_run_is_known_for_one(call, tmp_path):
    (tmp_path/'history.csv').write_text('epoch,train_loss,valid_loss,accuracy,time\n' + ''.join(f'{i},2.1,2.0,0.{i},00:10\n' for i in range(1, 6)))
    code,out,err = call('compare','history.csv')
    assert (code,out)==(2,'') and 'the log of one run, with a row for each epoch. Join the logs of all runs' in err and '--where epoch=last' in err

def test_runs_with_their_best_epochs_are_no_log(call, tmp_path):
    (tmp_path/'best.csv').write_text('seed,epoch,accuracy\n0,18,.81\n1,19,.80\n2,20,.83\n')
    assert 'Name it by --arm COLUMN. Choose from: seed, epoch, accuracy' in call('compare','best.csv')[2]

def test_the_verbs_are_there():
    assert {'demo','recipes','variants','data','cost','train','study','compare','report','runs'} <= set(verbs)

@pytest.mark.parametrize('verb', verbs)
def test_every_verb_explains_itself(call, verb):
    code,out,err = call(verb, '--help')
    assert code==0 and err=='' and f'simpleattn {verb}' in out and ' '.join(verbs[verb].__doc__.split())[:40] in ' '.join(out.split())
    options = re.findall(r'^  (--\w+)(.*(?:\n {10,}.*)*)', out, re.M)
    assert options and all(len(rest.split())>1 for _,rest in options), 'each option says what it is'

def test_the_version(call): assert call('--version')==(0, __version__+'\n', '')

def test_the_command_is_installed():
    res = cli('--version')
    assert (res.returncode,res.stdout)==(0, __version__+'\n'), res.stderr

# ---- mistakes: exit 2, one sentence on standard error, nothing on standard output

MISTAKES = {'verb':(['trian'], 'trian.*train'), 'recipe':(['train','woof-128-4'], 'woof-128-5'), 'recipe of a study':(['study','dmeo'], 'demo'), 'variant':(['train','demo','--variant','simpel'], 'simple'),
    'variant of a study':(['study','demo','--variants','baseline,simpel'], 'simpel'), 'one arm':(['study','demo','--variants','baseline'], 'at least one other'),
    'site':(['train','demo','--variant','simple@x'], 'not a site'), 'set':(['train','demo','--set','lr'], 'KEY=VALUE'), 'key':(['train','demo','--set','learning_rate=1'], "'learning_rate'"),
    'value':(['train','demo','--set','lr=fast'], "lr = 'fast'"), 'out of range':(['train','demo','--set','epochs=0'], 'epochs'), 'seeds':(['study','demo','--seeds','0,x'], 'whole numbers'),
    'one seed':(['study','demo','--runs','1'], 'two different seeds'), 'engine':(['study','demo','--engine','cloud'], "'cloud'"), 
    'data':(['data','mine','--data','nowhere'], 'nowhere'), 'no data':(['data','mine'], "'mine'"), 'data of a study':(['study','woof-cpu','--data','nowhere'], 'nowhere'),
    'fmt':(['recipes','--fmt','xml'], 'xml'), 'settings':(['recipes','--settings','nowhere.ini'], 'nowhere.ini'), 'import':(['variants','--import','nowhere.py'], 'nowhere.py'),
    'study':(['compare','nothing'], "'nothing'"), 'nothing to compare':(['compare'], 'two studies'), 'three studies':(['compare','a','b','c'], 'two studies'),
    'both':(['compare','a','--summary','.8,.01,5','.8,.01,5'], 'Give a study'), 'half a summary':(['compare','--summary','.8,.01,5'], 'MEAN,SD,N twice'), 'percent':(['compare','--summary','84.98,0.782,20','85.67,0.937,20'], 'Divide percent by 100'),
    'one run':(['compare','--summary','.8,.01,1','.8,.01,5'], 'at least two runs'), 'csv':(['compare','nowhere.csv'], 'nowhere.csv'), 'delta of a summary':(['compare','--summary','.8,.01,5','.8,.01,5','--delta','0'], 'delta must be positive'),
    'race':(['race','dmeo'], 'demo'), 'cap':(['race','demo','--cap','1'], 'two different seeds'), 'plan':(['plan','dmeo'], 'demo'),
    'plan without runs':(['plan','woof-128-5'], '--sd'), **{f'plan {a}':(['plan','demo',*(() if a.startswith('--sd ') else ('--sd','.01')),*a.split()], why) for a,why in {'--power 80':'0.8 for 80 %', '--power 0':'between 0 and 1', '--power nan':'between 0 and 1', '--variants 0':'at least one variant',
        '--effect 0':'effect as a fraction', '--sd-runs 1':'two runs or more', '--alpha nan':'alpha', '--sd inf':'sd as a fraction', '--sd 0.78':'sd as a fraction', '--corr 1':'correlation'}.items()},
    **{f'summary {o}':(['compare','--summary',o,'.8,.01,5'], why) for o,why in {'.8,.01,inf':'whole number', '.8,.01,nan':'whole number', '.8,.9,5':'cannot have an sd', 'nan,.01,5':'fractions', '.8,inf,5':'fractions'}.items()},
    'plan of one seed':(['plan','demo','--sd','.01','--runs','1'], 'two seeds'),
    **{f'plan of {o}':(['plan','demo','--sd','.01','--variants',o], 'baseline alone') for o in ('baseline','baseline,baseline')},
    'contrast':(['study','demo','--contrasts','baseline:none'], "'none'"), 'report':(['report','nothing'], "'nothing'"), 'backbone':(['cost','--backbone','xresnet19'], 'xresnet18'), 'variant of cost':(['cost','--variants','simpel'], 'simpel')}

@pytest.mark.parametrize('what', MISTAKES)
def test_a_mistake_is_one_sentence_that_names_it(call, what):
    args,says = MISTAKES[what]
    code,out,err = call(*args)
    assert code==2 and out=='' and re.search(says, err), (code,out,err)
    said = [l for l in err.strip().split('\n') if not l.startswith('Study ')]
    assert len(said)==1 and said[0].startswith('simpleattn: ') and 'Traceback' not in err

@pytest.mark.parametrize('args,says', [(['recipes','--colour'],'--colour'), (['train'],'recipe'), (['train','demo','--seed','x'],'--seed'), (['data'],'dataset'), (['study','demo','--workers','two'],'--workers')])
def test_a_wrong_option_is_named(call, args, says):
    code,out,err = call(*args)
    assert code==2 and out=='' and f'simpleattn {args[0]}: error:' in err and says in err.split('error:')[1] and 'Traceback' not in err

def test_mistakes_end_the_command_with_status_2():
    res = cli('train', 'woof-128-4')
    assert res.returncode==2 and res.stdout=='' and res.stderr.count('\n')==1 and 'woof-128-5' in res.stderr

# ---- lists

@pytest.mark.parametrize('verb', ['recipes','variants'])
def test_lists_in_every_format_have_the_same_rows(call, verb):
    names = list(load_recipes()) if verb=='recipes' else variants()
    got = {f:call(verb, '--fmt', f) for f in ('table','json','csv','md')}
    assert all(code==0 and err=='' for code,_,err in got.values())
    out = {f:o for f,(_,o,_) in got.items()}
    assert [next(iter(d.values())) for d in json.loads(out['json'])]==names
    assert [r[0] for r in table_rows(out['table'])[1:]]==names
    assert [r[0] for r in csv.reader(io.StringIO(out['csv']))][1:]==names
    assert [l.split('|')[1].strip() for l in out['md'].strip().split('\n')[2:]]==names

def test_recipes_of_another_file(call, settings): assert [d['recipe'] for d in json.loads(call('recipes', '--settings', settings, '--fmt', 'json')[1])]==['tiny','tiny-10']

def test_recipes_carry_their_hash(call):
    assert {d['recipe']:d['hash'] for d in json.loads(call('recipes', '--fmt', 'json')[1])}=={r.name:r.hash for r in load_recipes().values()}

def test_cost_is_parameters_and_flops(call):
    base,simple = json.loads(call('cost', '--backbone', 'xresnet18', '--variants', 'baseline,simple', '--size', '64', '--fmt', 'json')[1])
    assert simple['params']-base['params']==64*64+1 and simple['flops']>base['flops']

# ---- data

def test_data_tells_what_is_there(call, tiny):
    d = json.loads(call('data', 'mine', '--data', tiny, '--fmt', 'json')[1])
    assert d['images']==72 and d['classes']['red_blue']==dict(train=8, val=4)
    code,out,_ = call('data', 'mine', '--data', tiny)
    assert code==0 and ['red_blue','8','4'] in table_rows(out) and '72 images' in out

def test_data_names_unreadable_and_stray_files_and_what_is_missing(call, tmp_path, tiny):
    import shutil
    p = tmp_path/'imagewoof2-160'
    shutil.copytree(tiny, p)
    f = sorted((p/'train'/'red_blue').iterdir())[0]
    f.write_bytes(f.read_bytes()[:300]); (p/'val'/'red_blue'/'notes.txt').write_text('')
    (p/'noisy_shapes.csv').unlink()
    out = call('data', 'imagewoof', '--data', p)[1]
    assert f'unreadable: train/red_blue/{f.name}' in out and 'val/red_blue/notes.txt' in out and 'missing: 8977 of 9025 train images' in out and 'noisy' in out

def test_data_of_the_real_subset(call, woof):
    d = json.loads(call('data', 'imagewoof', '--data', woof, '--fmt', 'json')[1])
    assert d['images']==300 and d['v1_validation']==60 and len(d['classes'])==10 and d['unreadable']=={} and d['stray']==[]

# ---- runs

ACC = dict(baseline=[.4,.5,.6], simple=[.5,.7,.7])

@pytest.fixture
def root(tmp_path):
    p = tmp_path/'runs'
    for v in ('baseline','simple'):
        for s in range(3): write_run(a_run(s, v, env=this_env('cpu'), acc=ACC[v][s]), p)
    return p

def test_runs_are_listed_and_chosen(call, root):
    rows = json.loads(call('runs', '--root', root, '--fmt', 'json')[1])
    assert [(r['variant'],r['seed'],r['acc']) for r in rows]==[(v,s,ACC[v][s]) for v in ('baseline','simple') for s in range(3)]
    assert len(json.loads(call('runs', '--root', root, '--variant', 'simple', '--fmt', 'json')[1]))==3
    assert call('runs', '--root', root, '--recipe', 'none', '--fmt', 'json')[1].strip()=='[]' and call('runs', '--root', root, '--recipe', 'none')[:2]==(0,'nothing\n')

def test_a_record_that_cannot_be_believed_is_named_and_not_listed(call, root):
    p = next(root.glob('tiny/simple/*/1.json'))
    p.write_text(p.read_text().replace('"seed": 1','"seed": 9'))
    code,out,err = call('runs', '--root', root, '--fmt', 'json')
    assert len(json.loads(out))==5 and f'{p}: checksum' in err

def test_a_diverged_run_is_json_without_nan(call, root):
    write_run(a_run(7, env=this_env('cpu'), acc=None, best_acc=None, best_epoch=None, status='diverged'), root)
    out = call('runs', '--root', root, '--fmt', 'json')[1]
    assert 'NaN' not in out and [r['acc'] for r in json.loads(out) if r['seed']==7]==[None]

# ---- train, study, compare, report

def test_train_makes_one_run_and_never_another_of_it(call, tiny, settings, tmp_path):
    args = ['train','tiny','--variant','simple','--seed','4','--settings',settings,'--data',tiny,'--root','runs','--device','cpu']
    code,out,err = call(*args)
    assert code==0 and 'tiny/simple seed 4' in out and list(bits('runs'))==[f"tiny/simple/{this_env('cpu')}/4.json"]
    before = bits('runs')
    code,out,err = call(*args)
    assert code==2 and 'there already' in err and bits('runs')==before

def test_set_trains_a_derived_recipe_under_a_name_of_its_own(call, tiny, settings):
    assert call('train', 'tiny', '--set', 'lr=1e-2', 'bs=16', '--settings', settings, '--data', tiny, '--device', 'cpu')[0]==0
    assert list(bits('runs'))==[f"tiny_lr-0.01_bs-16/baseline/{this_env('cpu')}/0.json"]

def test_a_repeated_option_adds(call, tiny, settings):
    "--set a --set b is --set a b; a key twice is refused"
    assert call('train', 'tiny', '--set', 'lr=1e-2', '--set', 'bs=16', '--settings', settings, '--data', tiny, '--device', 'cpu')[0]==0
    assert list(bits('runs'))==[f"tiny_lr-0.01_bs-16/baseline/{this_env('cpu')}/0.json"]
    summaries = [o for arm in ('.8,.01,5', '.82,.01,5', '.84,.01,5') for o in ('--summary', arm)]
    once = call('compare', '--summary', *summaries[1::2])
    assert call('compare', *summaries)==once
    code,_,err = call('train', 'tiny', '--set', 'lr=1e-2', '--set', 'lr=2e-2', '--settings', settings, '--data', tiny)
    assert code==2 and 'lr' in err and 'twice' in err

def test_a_study_is_trained_compared_and_reported(call, tiny, settings, layers, tmp_path):
    args = ['study','tiny','--variants','baseline,mine','--seeds','5,6','--engine','serial','--import',layers,'--settings',settings,'--data',tiny,'--root','runs','--device','cpu','--name','s']
    code,out,err = call(*args)
    assert code==0 and len(bits('runs'))==4 and '4/4 runs' in err
    assert {'baseline','mine'} <= set(out.split()) and 'Report: ' in out
    report = tmp_path/out.split('Report: ')[1].strip()
    assert report.exists() and '_reports' in report.parts
    assert call('compare', 's')[1]==out
    d = json.loads(call('compare', 's', '--fmt', 'json')[1])
    assert d and json.loads(call(*args, '--fmt', 'json')[1])==d
    code,out,err = call('report', 's', '--out', 'elsewhere')
    assert code==0 and out.strip().startswith('elsewhere') and list((tmp_path/'elsewhere').iterdir())

def test_a_comparison_says_n_means_difference_interval_p_and_seed_correlation(call, root):
    Study('s', ['baseline','simple'], 3, recipe=Recipe('tiny'), root=root, env=this_env('cpu')).declare()
    code,out,_ = call('compare', 's', '--root', root)
    assert code==0 and '50.00' in out and '63.33' in out and '13.33' in out
    for word in ('seeds','95 %','gain','answer','next','new images'): assert word in out.split('\n')[0], word
    for word in ('mean','sd','seed correlation'): assert word in out, word

@pytest.mark.slow
@pytest.mark.alone
def test_a_thousand_records_are_compared_in_seconds(tmp_path):
    "CPU seconds from a cold start, the least of three, which others on the machine disturb least: with a report to write, and where nothing is new; neither torch nor fastai, and no drawing for nothing"
    import numpy as np
    rng,arms = np.random.default_rng(0),['baseline','self','simple','symmetric','sasa']
    for v in arms:
        for s in range(200): bits = rng.random(3925)<.8; write_run(a_run(s, v, env=this_env('cpu'), acc=float(bits.mean()), n_images=3925, correct=pack_bits(bits)), tmp_path/'runs')
    Study('big', arms, 200, recipe=Recipe('tiny'), root='runs', env=this_env('cpu')).declare()
    code = """
import resource,sys
from simpleattn.cli import main
main(['compare','big'])
r = resource.getrusage(resource.RUSAGE_SELF)
print(r.ru_utime+r.ru_stime, *(m for m in ('torch','fastai','matplotlib','jinja2') if m in sys.modules))"""
    runs = []
    for _ in range(3): shutil.rmtree(tmp_path/'runs'/'_reports', ignore_errors=True); runs += [timed(code, tmp_path) for _ in range(2)]
    (first,_,loaded),(again,_,loaded2) = runs[:2]
    cpu,cpu2 = (min(o[1] for o in runs[k::2]) for k in (0,1))
    assert first==again and first[-1].startswith('Report: ') and loaded==['matplotlib','jinja2'] and loaded2==[]
    assert cpu<5 and cpu2<2.5, (cpu, cpu2)

def timed(code, cwd):
    res = python(code, cwd=cwd); assert res.returncode==0, res.stderr
    *said,last = res.stdout.strip().split('\n'); cpu,*loaded = last.split()
    return said,float(cpu),loaded

def test_a_comparison_of_an_incomplete_study_says_so(call, root):
    Study('s', ['baseline','simple'], 5, recipe=Recipe('tiny'), root=root, env=this_env('cpu')).declare()
    code,out,err = call('compare', 's', '--root', root, '--fmt', 'json')
    assert code==0 and json.loads(out) and 'Incomplete: 4 of 10 runs are missing.' in err

# ---- plan, race, and numbers of others

def test_a_published_summary_is_compared(call):
    c, = json.loads(call('compare', '--summary', '0.8498,0.00782,20', '0.8567,0.00937,20', '--fmt', 'json')[1])['comparisons']
    assert (c['t_student'],c['p_student'],c['p'])==pytest.approx((2.528395,0.01573342,0.01587835), rel=1e-6) and (c['low_student'],c['high_student'])==pytest.approx((.0013754,.0124246), rel=2e-5)
    code,out,err = call('compare', '--summary', '0.8576,0.00817,23', '0.8634,0.00740,23')
    assert code==0 and err=='' and 'Welch t, n = 23 and 23 runs' in out and '+0.58 pp' in out and 'better' in out
    assert '0.0153' in call('compare', '--summary', '0.8576,0.00817,23', '0.8634,0.00740,23', '--full')[1]

CSV = 'variant,seed,accuracy\n' + '\n'.join(f'{a},{s},{x/500}' for a,xs in dict(plain=(421,425,418,430,424,427,419,423), mine=(427,430,416,433,431,428,428,427)).items() for s,x in enumerate(xs))

def test_a_csv_of_other_peoples_runs_is_compared(call, tmp_path):
    f = tmp_path/'runs.csv'; f.write_text(CSV)
    def one(*args): d = json.loads(call('compare', f, *args, '--fmt', 'json')[1]); return d['comparisons'][0]
    c = one()
    assert (c['baseline'],c['arm'],c['n'],c['test'])==('plain','mine',8,'paired t') and (c['t'],c['p'])==pytest.approx((3.350642,0.012239997), rel=1e-6)
    assert (c['low'],c['high'])==pytest.approx((0.00242779,0.01407221), rel=2e-6) and c['p_signflip']==pytest.approx(6/256)
    assert one('--unpaired')['p']==pytest.approx(0.0954795, rel=1e-6) and one('--baseline','mine')['t']==pytest.approx(-3.350642, rel=1e-6)
    assert one('--delta','0.015')['tost_p']==pytest.approx(0.014429184, rel=1e-6)
    f.write_text(CSV.replace('plain','baseline').replace('variant,','\ufeffvariant , '))
    assert one()['baseline']=='baseline'
    code,out,err = call('compare', f)
    assert code==0 and err=='' and 'mine against baseline: paired t, n = 8 shared seeds, seed correlation 0.73' in out and 'Report' not in out

def test_the_arm_named_baseline_is_the_baseline_wherever_it_stands(call, tmp_path):
    f = tmp_path/'runs.csv'; f.write_text(CSV.replace('mine','baseline'))
    assert [(c['baseline'],c['arm']) for c in json.loads(call('compare', f, '--fmt', 'json')[1])['comparisons']]==[('baseline','plain')]

@pytest.mark.parametrize('text,says', [('variant,seed\na,1', 'columns arm'), ('', 'cannot be read'), ('variant,seed,accuracy', 'there are no runs'), (CSV+'\n,9,.8', 'has no variant'), ('variant,seed,accuracy,n_images\na,0,.5,inf\na,1,.6,inf\nb,0,.5,inf\nb,1,.7,inf', 'number of validation images'), (CSV.replace('0.842','84.2'), 'percent divide by 100|a percent and a fraction'), (CSV.replace('0.842','high'), "'high'"),
    (CSV.replace('0.842',''), 'NaN'), (CSV.replace('plain,1,','plain,0,'), "seed 0 of 'plain' appears twice"), ('variant,seed,accuracy\na,0,.5\na,1,.6', 'second arm'), ('variant,seed,accuracy\na,0,.5\na,1,.6\nb,0,.5', 'at least two')], ids=range(11))
def test_a_csv_that_cannot_be_meant_is_one_sentence(call, tmp_path, text, says):
    f = tmp_path/'runs.csv'; f.write_text(text)
    code,out,err = call('compare', f)
    assert code==2 and out=='' and re.search(says, err) and err.count('\n')==1, err

@pytest.mark.parametrize('args,says', [(('x.csv','y.csv'), 'one csv file'), (('x.csv','s'), 'one csv file'), (('s','x.csv'), 'one csv file'), (('s','t','--contrasts','a:b'), '--contrasts'), (('s','t','--unpaired'), '--unpaired'),
    *[(('--summary','.8,.01,5','.81,.01,5',*o), o[0]) for o in (('--baseline','x'), ('--contrasts','a:b'), ('--env','any'))]], ids=str)
def test_what_compare_cannot_heed_is_refused(call, args, says):
    code,out,err = call('compare', *args)
    assert code==2 and out=='' and says in err and err.count('\n')==1, err

def test_two_studies_are_compared_by_their_gains(call, root):
    "Of two recipes: a run of one is never a run of the other"
    recipes = dict(tiny=Recipe('tiny'), other=Recipe('other', epochs=7))
    for v in ('baseline','simple'):
        for s in range(3):
            run = a_run(s, v, 'other', this_env('cpu'), acc=round(ACC[v][s]-.1*(v=='simple')*(s<2), 1))
            write_run(dataclasses.replace(run, recipe=recipes['other'].to_dict(), recipe_hash=recipes['other'].hash), root)
    for n,r in recipes.items():
        s = Study(n, ['baseline','simple'], 3, recipe=r, root=root, env=this_env('cpu')); s.declare()
        d = json.loads(s.file.read_text()); s.file.write_text(json.dumps(dict(d, pairs_before=0)))
    code,out,err = call('compare', 'other', 'tiny', '--root', root, '--fmt', 'json')
    c, = json.loads(out)['comparisons']
    from scipy import stats
    x,y = ([a-b for a,b in zip(json.loads(json.dumps(v)), ACC['baseline'])] for v in ([.4,.6,.7], ACC['simple']))
    assert c['p']==pytest.approx(stats.ttest_ind(y, x, equal_var=False).pvalue) and c['diff']==pytest.approx(.2/3) and c['test']=='Welch t on paired differences'
    out = call('compare', 'other', 'tiny', '--root', root)[1]
    assert 'tiny/simple - tiny/baseline' in out and 'other and tiny' in out

def test_runs_of_two_machines_are_refused_and_unpaired_on_request(call, tmp_path):
    for v,env in (('baseline',this_env('cpu')),('simple','gpu-torch9')):
        for s in range(3): write_run(a_run(s, v, env=env, acc=ACC[v][s]), tmp_path/'runs')
    Study('s', ['baseline','simple'], 3, recipe=Recipe('tiny'), root='runs', env=this_env('cpu')).declare()
    code,out,err = call('compare', 's')
    assert code==2 and 'gpu-torch9' in err and '--env any --unpaired' in err
    code,out,err = call('compare', 's', '--env', 'any')
    assert code==2 and 'differ in env' in err
    code,out,err = call('compare', 's', '--env', 'any', '--unpaired')
    assert code==0 and 'Welch t' in out and 'Unpaired on request, across env' in out

@pytest.mark.parametrize('words', [['leaderboard'], ['plan','tiny','--sd','.01']], ids=' '.join)
def test_all_machines_together_are_for_compare_and_report(call, root, settings, words):
    more = ['--settings',settings] if words[0]=='plan' else []
    assert call(*words, *more, '--root', root)[0]==0
    assert call(*words, *more, '--root', root, '--env', 'any')==(2, '', 'simpleattn: --env any: that is for compare and report. Name one class of machine, or leave it out.\n')

def test_a_plan_is_printed_before_any_training(call, tmp_path):
    from simpleattn.plan import plan
    d = json.loads(call('plan', 'demo', '--runs', '5', '--sd', '0.0078', '--sd-runs', '20', '--variants', '2', '--effect', '0.005', '--fmt', 'json')[1])
    assert d==plan(5, .0078, 20, effect=.005, variants=2).to_dict() and d['runs_needed']==49 and d['sd_diff_upper']>d['sd_diff']
    code,out,err = call('plan', 'demo', '--sd', '0.0078')
    assert code==0 and err=='' and 'With 5 seeds of each arm and an sd of the paired difference of 1.10 pp' in out and 'no upper bound' in out and list(tmp_path.iterdir())==[]
    for v in ('baseline','simple'):
        for s in range(3): write_run(dataclasses.replace(a_run(s, v, 'demo', env=this_env('cpu'), acc=ACC[v][s]), recipe=dict(load_recipes()['demo'].to_dict(), name='demo'), recipe_hash=load_recipes()['demo'].hash), tmp_path/'runs')
    out = call('plan', 'demo', '--runs', '3', '--env', this_env('cpu'))[1]
    assert re.search(r'With 3 seeds of each arm \(0.0 hours\)', out) and 'are for the 80 % upper bound of that sd' in out

def test_a_plan_counts_a_variant_once(call):
    def planned(variants): return call('plan', 'demo', '--sd', '0.0078', '--variants', variants, '--fmt', 'json')
    assert planned('simple,baseline,simple')==planned('simple')==planned('1') and planned('simple,self')==planned('2')

def test_a_plan_of_a_derived_recipe_takes_its_runs(call):
    "Those of a published recipe's fast form, which stand in the repository"
    words = 'plan woof-128-5-v1 --set precision=bfloat16 compile=true --env nvidia-h200-torch2.11 --variants self --fmt json --root'.split()
    d = json.loads(call(*words, str(ROOT/'runs'))[1])
    self, = [c for c in load_study('woof-128-5-v1-gpu', ROOT/'runs').compare() if c.arm=='self']
    assert d['sd_diff']==pytest.approx(self.sd_diff, rel=1e-9)
    assert 'epochs' in call('plan', 'woof-cpu', '--set', 'epoch=3')[2]

def test_a_plan_is_drawn_to_a_file_of_its_own(call, tmp_path):
    args = ['plan','demo','--sd','0.0078','--sd-runs','20']
    code,out,err = call(*args, '--plot', 'power.svg')
    text = (tmp_path/'power.svg').read_text()
    assert code==0 and out==call(*args)[1] and text.startswith('<svg') and 'equivalent within 1 pp' in text
    code,out,err = call(*args, '--plot', 'power.png')
    assert code==2 and 'ends in .svg' in err and not (tmp_path/'power.png').exists()

def test_a_control_from_the_command_line_goes_on_where_it_stopped(call, tiny, settings, tmp_path):
    args = ['control','tiny','--runs','4','--handicap','noise','--engine','serial','--settings',settings,'--data',tiny,'--device','cpu']
    code,out,err = call(*args)
    assert code==0, err
    assert [o.split(',')[0].split(':')[0] for o in out.split('\n\n')]==['Null','Repeat','Sensitivity','Report'] and 'all 4 runs that were made twice came out the same' in out
    made = {o:o.stat().st_mtime_ns for o in (tmp_path/'runs').rglob('[0-9].json')}
    assert len(made)==12
    d = json.loads(call(*args, '--fmt', 'json')[1])
    assert made=={o:o.stat().st_mtime_ns for o in (tmp_path/'runs').rglob('[0-9].json')} and d['handicap']=='noise' and [o['same'] for o in d['repeats']]==[True]*4
    assert 'The harness on this recipe' in (tmp_path/'runs'/'_reports'/'control-tiny'/'report.md').read_text()
    code,out,err = call('control', 'tiny', '--runs', '3', '--settings', settings)
    assert code==2 and 'four seeds' in err

def test_a_race_from_the_command_line(call, tiny, settings, tmp_path):
    args = ['race','tiny','--variants','baseline,simple','--cap','3','--engine','serial','--settings',settings,'--data',tiny,'--device','cpu']
    code,out,err = call(*args)
    assert code==0, err
    assert 'simple after 3 pairs' in err and len(bits('runs'))==6 and 'confidence sequence' in out and (tmp_path/'runs'/'_studies'/'tiny-race.race.jsonl').is_file()
    assert call(*args)[1]==out==call('compare', 'tiny-race')[1]

@pytest.mark.slow
def test_the_demo_prints_a_comparison_and_where_its_report_lies(tmp_path):
    res = cli('demo', '--runs', '2', '--root', tmp_path/'runs', timeout=1500)
    assert res.returncode==0, res.stderr
    assert {'self','simple','twice-epochs'} <= set(res.stdout.split()) and '8/8 runs' in res.stderr
    report = res.stdout.split('Report: ')[1].split('\n')[0]
    assert (tmp_path/report).exists() and len(bits(tmp_path/'runs'))==8
    first = next(o for o in res.stdout.split('\n') if ' compare first ' in o)
    assert 'twice-epochs against baseline' in cli('compare', *first.split(' compare ')[1].split()).stdout

def test_a_leaderboard_as_csv_has_the_columns_that_every_row_has(call, root, monkeypatch):
    "An entry with fresh seeds holds a summary of them where another holds nothing; neither moves the columns"
    rows = [dict(arm='a', fresh=None, mean=.5), dict(arm='b', fresh=dict(n=5), mean=.6)]
    for rs in (rows, rows[::-1]):
        monkeypatch.setattr('simpleattn.board.leaderboard', lambda es: [SimpleNamespace(to_dict=lambda o=o: o) for o in rs])
        code,out,_ = call('leaderboard', '--root', root, '--fmt', 'csv')
        assert code==0 and [*csv.DictReader(io.StringIO(out))]==[dict(arm=o['arm'], mean=str(o['mean'])) for o in rs]

def test_a_race_is_named_after_the_recipe_that_it_trains(tmp_path, call, monkeypatch):
    "So that the same race with another --set is another race"
    from simpleattn.recipes import CliError
    from simpleattn.study import Study
    monkeypatch.setattr(Study, 'race', lambda self, *a, **k: (_ for _ in ()).throw(CliError(f'name {self.name}')))
    for args,name in (([],'demo-race'),(['--set','lr=1e-2'],'demo_lr-0.01-race')): assert f'name {name}' in call('race', 'demo', *args, '--root', tmp_path)[2]

def test_a_csv_may_name_its_arms_by_numbers(tmp_path, call):
    (tmp_path/'a.csv').write_text('variant,seed,acc\n' + ''.join(f'{v},{s},{(300+7*s%11+40*v+s*v%3)/500}\n' for v in (1,2) for s in range(6)))
    code,out,err = call('compare', tmp_path/'a.csv')
    assert code==0 and '+8.' in out and err.endswith('a.csv: baseline = 1, the first arm.\n')

def test_a_study_and_a_race_train_alike(call):
    "The options of training, typed once, are `Study.run`'s, by name and default"
    from inspect import signature
    training = signature(Study.run).parameters
    shared = 'engine workers data device threads checkpoints address gpus_per_run'.split()
    for verb in ('study','race'):
        takes = signature(verbs[verb]).parameters
        assert [takes[k].default for k in shared]==[training[k].default for k in shared] and [*takes][-1]=='fmt'
        out = call(verb, '--help')[1]
        assert all(f"--{k.replace('_','-')} " in out for k in shared), verb
    assert '--looks' not in call('race', '--help')[1]

def test_import_is_an_option_by_that_name(call):
    "And no abbreviation of another"
    for verb in ('study','race','train','cost','variants'):
        assert '--import FILE, --import-file FILE' in call(verb, '--help')[1], verb
    assert "no file '/nope.py'" in call('variants', '--import', '/nope.py')[2] and "no file '/nope.py'" in call('variants', '--import-file=/nope.py')[2]

def test_the_package_is_the_command(tmp_path):
    import subprocess,sys
    def run(*words): return subprocess.run([sys.executable, '-m', 'simpleattn', *words], capture_output=True, text=True, cwd=tmp_path)
    assert run('--version').stdout.strip() and run('recipes', '--fmt', 'csv').returncode==0
    wrong = run('nothing')
    assert wrong.returncode==2 and 'no verb' in wrong.stderr and len(wrong.stderr.splitlines())==1

@pytest.mark.parametrize('make', [lambda p: p.symlink_to('/dev/zero'), lambda p: os.mkfifo(p), lambda p: p.write_bytes(__import__('gzip').compress(bytes(2**13)))], ids=['a device','a pipe','packed'])
def test_a_file_of_results_that_has_no_end_is_a_line(tmp_path, call, monkeypatch, make):
    monkeypatch.setattr('simpleattn.formats._most_bytes', 2**12)
    make(tmp_path/'x.csv')
    code,out,err = call('compare', tmp_path/'x.csv')
    assert code==2 and err.count('\n')==1 and ('a pipe or a device' in err or 'more than 4096 bytes' in err)

@pytest.mark.parametrize('streams,status', [('<&-',2), ('2>/dev/full <&-',2), ('<&- >&- 2>&-',2)])
def test_a_standard_input_that_is_closed_is_empty(tmp_path, streams, status):
    import subprocess,sys
    done = subprocess.run(f'"{sys.executable}" -m simpleattn compare - {streams}', shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode==status and 'Traceback' not in done.stderr and ('2>' in streams or 'it is empty' in done.stderr)

def test_a_settings_file_of_bad_lines_is_told_by_its_first(tmp_path, call):
    (tmp_path/'many.ini').write_text('[a]\n' + 'bad line\n'*100_000)
    code,out,err = call('recipes', '--settings', tmp_path/'many.ini')
    assert code==2 and len(err)<500 and '[line  2]' in err.replace('[line 2]', '[line  2]') and '99999 more' in err

@pytest.mark.parametrize('at', ['simpleattn.cli','fastcore.script','argparse'])
def test_ctrl_c_while_the_command_is_imported_is_no_traceback(at):
    code = f"""
import builtins,sys
real = builtins.__import__
def imported(name, *more):
    if name=={at!r}: raise KeyboardInterrupt
    return real(name, *more)
builtins.__import__ = imported
from simpleattn.__main__ import main
sys.exit(main())"""
    done = python(code, 'recipes')
    assert (done.returncode,done.stdout,done.stderr)==(130,'','')

def test_output_that_finds_no_room_is_a_line(tmp_path):
    import subprocess,sys
    done = subprocess.run(f'"{sys.executable}" -m simpleattn recipes > /dev/full', shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode==2 and done.stderr.count('\n')==1 and 'No space left' in done.stderr

LOCALES = dict(cp1252=dict(PYTHONIOENCODING='cp1252'), ascii=dict(PYTHONIOENCODING='ascii'), C=dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0'))

@pytest.mark.parametrize('locale', LOCALES)
@pytest.mark.parametrize('fmt', ['table','csv'])
def test_a_stream_that_lacks_a_character_shows_its_number(tmp_path, locale, fmt):
    import subprocess,sys
    rows = [f'{arm},{seed},{.5+.1*i+.01*seed}' for i,arm in enumerate(['基线','注意力→']) for seed in range(5)]
    (tmp_path/'u.csv').write_text('\n'.join(['arm,seed,acc',*rows]), encoding='utf-8')
    for seed in range(5): write_run(a_run(seed, acc=.5+.01*seed), tmp_path/'runs')
    for words in (['compare','u.csv','--fmt',fmt], ['leaderboard','--root','runs','--fmt',fmt]):
        done = subprocess.run([sys.executable, '-m', 'simpleattn', *words], cwd=tmp_path, capture_output=True, env={**os.environ, **LOCALES[locale]})
        assert done.returncode==0 and b'Error' not in done.stderr, done.stderr
        if words[0]=='compare' and fmt=='csv': assert rb'\u57fa\u7ebf' in done.stdout

def test_closed_streams_lack_no_character(tmp_path):
    import subprocess,sys
    for seed in range(5): write_run(a_run(seed, acc=.5+.01*seed), tmp_path/'runs')
    done = subprocess.run(f'"{sys.executable}" -m simpleattn leaderboard --root runs >&-', shell=True, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **LOCALES['C']})
    assert done.returncode==0 and done.stderr=='', done.stderr

@pytest.mark.parametrize('to,status', [('| head -1',1), ('| true',1), ('> /dev/full',2)])
def test_a_reader_that_has_seen_enough_hides_no_finding(tmp_path, to, status):
    import subprocess,sys
    write_run(a_run(), tmp_path/'S')
    (tmp_path/'S'/'_studies').mkdir(); (tmp_path/'S'/'_studies'/'s.race.jsonl').write_text('?')
    words = f'("{sys.executable}" -m simpleattn runs --verify --root S; echo $? >status) {to}'
    for _ in range(3):
        done = subprocess.run(['bash','-c',words], cwd=tmp_path, capture_output=True, text=True)
        assert 'Traceback' not in done.stderr and int((tmp_path/'status').read_text())==status, done.stderr

def test_a_file_name_forges_no_line(tmp_path, call):
    from simpleattn.shapes import make_shapes
    pics = make_shapes(tmp_path/'pics', 12, 12)
    (pics/'train'/'evil\nsmall validation set\x1b[2J.txt').write_text('?')
    out = call('data', pics)[1]
    assert '\x1b' not in out and 'evil\\nsmall' in out

@pytest.mark.parametrize('words', [['study','demo','--delta','0.5'], ['plan','demo','--sd','0.01','--delta','1'], ['race','demo','--delta','2'], ['plan','demo','--sd','0.01','--effect','0.5'], ['plan','demo','--sd','0.01','--effect','inf'], ['compare','x.csv','--delta','0.21']], ids=' '.join)
def test_a_margin_in_points_is_a_slip(words, capsys):
    with pytest.raises(SystemExit) as e: main(words)
    assert e.value.code==2 and 'give at most 0.2: it is a fraction, and 0.01 is one percentage point' in capsys.readouterr().err

def test_a_blank_after_a_comma_means_nothing_in_any_list(call, tmp_path):
    from simpleattn.cli import _grid,_seeds,_which
    assert call('cost', '--backbone', 'xresnet18', '--variants', 'baseline, simple', '--size', '32')[:2]==call('cost', '--backbone', 'xresnet18', '--variants', 'baseline,simple', '--size', '32')[:2]
    for verb in ('study','race'):
        said = [call(verb, 'demo', '--variants', o, '--seeds', '0, 1, 2', '--root', tmp_path, '--engine', 'none') for o in ('baseline, simple','baseline,simple')]
        assert said[0]==said[1] and "engine" in said[0][2]
    assert _grid(['lr=1e-3, 2e-3','sched=one-cycle, flat-cos'])==([], dict(lr=['1e-3','2e-3'], sched=['one-cycle','flat-cos']))
    assert _which('self, simple')==['self','simple'] and _which('simple, simple@1.-1')==['simple'] and _seeds(5, '0, 1')==[0,1]
