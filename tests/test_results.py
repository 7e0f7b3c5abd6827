"""`simpleattn compare FILE` and `read_results`: anybody's results are read as they are meant, and nothing is pooled in silence"""
import gzip,io,json,re,shlex,sys
from collections import Counter
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck,example,given,settings as hyp,strategies as st
from conftest import ROOT,python
from simpleattn.cli import main
from simpleattn.recipes import CliError
from simpleattn.results import against,baseline_of,compare_results,read_results
from simpleattn.runs import load_runs
from simpleattn.columns import check_columns,of_a_run,unexplained
from simpleattn.questions import best
from simpleattn.stats import compare_many

CASES = ROOT/'tests'/'cases'/'results'
BASE,SIMPLE = [.62,.644,.602,.632,.618],[.652,.658,.634,.672,.64]
ROWS = [(a,s,x) for a,xs in (('baseline',BASE),('simple',SIMPLE)) for s,x in enumerate(xs)]

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

def comparisons(call, *args):
    "Comparisons of a command that must succeed, and what it said on standard error"
    code,out,err = call('compare', *args, '--fmt', 'json')
    assert code==0, err
    return json.loads(out)['comparisons'],err

def is_the_five(c, baseline='baseline'):
    assert (c['baseline'],c['arm'],c['test'],c['n'])==(baseline,'simple','paired t',5)
    assert (c['diff'],c['low'],c['high'],c['p'])==pytest.approx((.028,.01553,.04047,.00342), rel=1e-2)

def is_welch(c):
    assert (c['test'],c['n_baseline'],c['n_variant'])==('Welch t',5,5)
    assert (c['diff'],c['low'],c['high'])==pytest.approx((.028,.0055,.0505), rel=1e-2)

def is_four(c): assert (c['test'],c['n'],c['diff'])==('paired t',4,pytest.approx(.0295))

def is_published(c):
    assert (c['test'],c['n_baseline'],c['n_variant'])==('Welch t',10,10)
    assert (c['diff'],c['low'],c['high'],c['p'])==pytest.approx((.0572,.0362,.0782,2.7e-5), rel=1e-2)

def csv_text(rows=ROWS, header=('variant','seed','accuracy'), sep=','):
    return '\n'.join(sep.join(map(str, o)) for o in [header, *rows])+'\n'

def wrote(text, name='r.csv'):
    (Path(name).write_bytes if isinstance(text, bytes) else Path(name).write_text)(text)
    return name

def with_columns(**columns):
    "The five pairs with more columns: a list of ten values, or one value"
    more = [v if isinstance(v, list) else [v]*10 for v in columns.values()]
    return csv_text([(*r, *o) for r,*o in zip(ROWS, *more)], ('variant','seed','accuracy',*columns))

def refused(call, *args, says=()):
    "One or two lines on standard error, exit status 2, and nothing else"
    code,out,err = call('compare', *args)
    assert code==2 and out=='' and err.startswith('simpleattn: ') and err.count('\n')<=2 and 'Traceback' not in err, err
    for o in [says] if isinstance(says, str) else says: assert o in err, err
    return err

def commands(err): return [shlex.split(o) for o in re.findall(r'simpleattn (compare .*?)(?=; one answer|; where it does|\n|$)', err)]

# ---- the cases with right answers, all of expected.md

FIVE = 'good.csv good.csv.gz runs.tsv CAPS.CSV records.json lines.jsonl tab.csv semi_comma.csv utf16.csv percentsign.csv mlflow_renamed.csv guild.csv counts_n.csv'.split()
WHERE = ['dataset=imagewoof','size_px=256','optimiser=adam','lr=0.003','batch=64','source=SimpleSelfAttention v0.1 notebook 2019-05']
RIGHT = [*((o, (), is_the_five, '') for o in FIVE),
    ('run.csv', (), is_the_five, 'arm = variant, seed = run, accuracy = accuracy'), ('valacc.csv', (), is_the_five, 'arm = name, seed = seed, accuracy = val_acc'),
    ('model_top1.csv', ('--percent',), is_the_five, 'arm = model'), ('None_arm.csv', (), lambda c: is_the_five(c, 'None'), ''),
    ('wide_rows_seeds.csv', ('--wide',), is_the_five, ''), ('wide_rows_arms.csv', ('--wide',), is_the_five, ''), ('list.csv', ('--wide','--percent'), is_the_five, 'position'),
    ('published.csv', ('--where',*WHERE), is_published, ''), ('epochs_noseed.csv', ('--where','epoch=last'), is_welch, ''), ('epochs_noseed.csv', ('--where','epoch=4'), is_welch, ''),
    ('dupseed.csv', ('--ignore','seed'), is_welch, ''), ('sameseed.csv', ('--ignore','seed'), is_welch, ''),
    ('wandb_partial.csv', (), is_four, '1 of 10 runs failed'), ('shared4of5.csv', (), is_four, '')]

@pytest.mark.parametrize('name,args,is_right,says', RIGHT, ids=lambda o: o if isinstance(o, str) else ' '.join(o) if isinstance(o, tuple) else '')
def test_a_case_gives_its_right_answer(call, name, args, is_right, says):
    (c,),err = comparisons(call, CASES/name, *args)
    is_right(c)
    assert says in err and err.count('\n')<=1

REFUSED = [('model_top1.csv', ('percent','--percent')), ('wide_rows_seeds.csv', '--wide'), ('wide_rows_arms.csv', '--wide'), ('list.csv', ('--wide','percent')),
    ('space.csv', ("'baseline '",'blanks or capitals')), ('case_arm.csv', ("'Baseline' and 'baseline'",)), ('published.csv', ('dataset (','size_px (','optimiser (','lr (','--where','--by','--ignore')),
    ('ownruns.csv', ('recipe (','--where recipe=demo')), ('two_datasets_other_seeds.csv', ('dataset (imagewoof, imagenette)','--by dataset')), ('split_col_noseed.csv', 'split (train, val)'),
    ('confounded_size.csv', ('size (128, 256)','epochs (5, 20)','differ between arms')), ('epochs_noseed.csv', ('epoch (','--where epoch=last')), ('mean_noseed.csv', 'row 7 (baseline, 0.6232) is the mean'),
    ('dup_noseed.csv', 'appear twice'), ('dupseed.csv', "seed 3 of 'baseline' appears twice (rows 5, 6)"), ('sameseed.csv', ("seed 42 of 'baseline'",'every row')), ('nan.csv', 'row 9 (simple, seed 2)'),
    ('pm.csv', ('mean and an sd','--summary'))]

@pytest.mark.parametrize('name,says', REFUSED, ids=lambda o: o if isinstance(o, str) else '')
def test_a_case_is_refused_by_name(call, name, says): refused(call, CASES/name, says=says)

def test_every_case_has_its_row():
    assert {o.name for o in CASES.iterdir()}=={o[0] for o in RIGHT+REFUSED}|{'expected.md'}

def test_one_answer_for_each_data_set(call):
    code,out,err = call('compare', CASES/'two_datasets_other_seeds.csv', '--by', 'dataset', '--fmt', 'json')
    answers = json.loads(out)
    assert code==0 and [*answers]==['dataset=imagewoof','dataset=imagenette']
    assert [o['comparisons'][0]['n'] for o in answers.values()]==[5,5]
    assert call('compare', CASES/'two_datasets_other_seeds.csv', '--by', 'dataset')[1].count('simple against baseline')==2
    table = pd.read_csv(io.StringIO(call('compare', CASES/'two_datasets_other_seeds.csv', '--by', 'dataset', '--fmt', 'csv')[1]))
    assert 'Each table has its own error rate' in call('compare', CASES/'two_datasets_other_seeds.csv', '--by', 'dataset')[1]
    assert table.part.unique().tolist()==['dataset=imagewoof','dataset=imagenette'] and table['diff'].dropna().round(3).tolist()==[.028,.028]

def test_a_part_whose_name_has_quotes_is_one_cell_of_csv(call):
    code,out,_ = call('compare', wrote(json.dumps([dict(arm=a, seed=s, acc=x, note='a"b, c') for a,s,x in ROWS]), 'q.json'), '--by', 'note', '--fmt', 'csv')
    assert code==0 and pd.read_csv(io.StringIO(out)).part.unique().tolist()==['note=a"b, c']

def test_own_runs_of_one_recipe(call):
    cs,_ = comparisons(call, CASES/'ownruns.csv', '--where', 'recipe=demo')
    gate = next(c for c in cs if c['arm']=='gate')
    assert gate['diff']==pytest.approx(.0075) and gate['n']==5 and gate['test']=='paired t'

def test_seeds_without_a_partner_are_named(call):
    assert 'left out: seed 4 of ' in call('compare', CASES/'shared4of5.csv')[1] and 'seed 9 of ' in call('compare', CASES/'shared4of5.csv')[1]
    assert 'Runs without a partner, left out: seed 4 of ' in call('compare', CASES/'wandb_partial.csv')[1]

# ---- one content, many files

def as_rows(): return [dict(variant=a, seed=s, accuracy=x) for a,s,x in ROWS]
def by_column(rows): return {k:[o[k] for o in rows] for k in rows[0]}
FILES = dict(upper=csv_text(header=('Variant','SEED','Accuracy')), semicolons=csv_text(sep=';'), pipes=csv_text(sep='|'), blanks=csv_text(sep='   '),
    sep_line='sep=;\n'+csv_text(sep=';'), comment='# made by me\n'+csv_text(), crlf=csv_text().replace('\n','\r\n'), empty_lines='\n\n'+csv_text().replace('\n','\n\n'),
    quoted=csv_text([(f'"{a}"',f'"{s}"',f'"{x}"') for a,s,x in ROWS]), decimal_comma=csv_text([(a,s,f'"{x}"'.replace('.',',')) for a,s,x in ROWS]),
    tab_comma=csv_text([(a,s,str(x).replace('.',',')) for a,s,x in ROWS], sep='\t'), trailing=csv_text().replace('\n',',,\n'), index=',variant,seed,accuracy\n'+''.join(f'{i},{a},{s},{x}\n' for i,(a,s,x) in enumerate(ROWS)),
    r_names='variant,seed,accuracy\n'+''.join(f'{i},{a},{s},{x}\n' for i,(a,s,x) in enumerate(ROWS)), joined=csv_text(ROWS[:5])+csv_text(ROWS[5:]),
    markdown='| variant | seed | accuracy |\n|---|---:|---|\n'+''.join(f'| {a} | {s} | {x} |\n' for a,s,x in ROWS), float_seeds=csv_text([(a,f'{s}.0',x) for a,s,x in ROWS]),
    percent_blank=csv_text([(a,s,f'{100*x:.1f} %') for a,s,x in ROWS]), percent_head=csv_text([(a,s,f'{100*x:.1f}') for a,s,x in ROWS], ('variant','seed','Accuracy (%)')), exponents=csv_text([(a,s,f'{x:e}') for a,s,x in ROWS]),
    json=json.dumps(as_rows()), indented=json.dumps(as_rows(), indent=2), runs=json.dumps(dict(name='x', runs=as_rows())), nested=json.dumps([dict(params=dict(seed=s, model=a), metrics=dict(accuracy=x)) for a,s,x in ROWS]),
    jsonl='\n'.join(map(json.dumps, as_rows())), columns=json.dumps(by_column(as_rows())), pandas=pd.DataFrame(as_rows()).to_json(), split=pd.DataFrame(as_rows()).to_json(orient='split'),
    index_json=pd.DataFrame(as_rows()).to_json(orient='index'), table=pd.DataFrame(as_rows()).to_json(orient='table'))

@pytest.mark.parametrize('kind', FILES)
def test_the_same_runs_in_another_form(call, kind):
    (c,),_ = comparisons(call, wrote(FILES[kind], 'runs.txt'))
    is_the_five(c)

@pytest.mark.parametrize('encoding', ['utf-8','utf-8-sig','utf-16','utf-16-le','utf-16-be','utf-32','cp1252','latin-1'])
@pytest.mark.parametrize('packed', [False,True])
def test_the_same_runs_in_another_encoding(call, encoding, packed):
    data = csv_text([('Größe' if a=='simple' else a, s, x) for a,s,x in ROWS]).encode(encoding)
    (c,),_ = comparisons(call, wrote(gzip.compress(data) if packed else data, 'r.csv.gz' if packed else 'r.csv'))
    assert c['arm']=='Größe' and c['diff']==pytest.approx(.028)

@pytest.mark.parametrize('name', ['runs','runs.txt','RUNS.TSV','my runs.csv','a.results'])
def test_a_file_may_have_any_name(call, name): is_the_five(comparisons(call, wrote(csv_text(), name))[0][0])

def test_standard_input_is_read(call, monkeypatch):
    monkeypatch.setattr('sys.stdin', io.TextIOWrapper(io.BytesIO(csv_text().encode())))
    is_the_five(comparisons(call, '-')[0][0])

def test_dev_stdin_is_read_without_torch_and_in_little_time():
    code = '''
import resource,sys
from simpleattn.cli import main
main(['compare','/dev/stdin','--fmt','json'])
r = resource.getrusage(resource.RUSAGE_SELF)
print(r.ru_utime+r.ru_stime, *(m for m in ('torch','fastai','matplotlib') if m in sys.modules), file=sys.stderr)'''
    runs = [python(code, input=csv_text()) for _ in range(3)]
    assert all(o.returncode==0 for o in runs), runs[0].stderr
    is_the_five(json.loads(runs[0].stdout)['comparisons'][0])
    said = [o.stderr.strip().split('\n')[-1].split() for o in runs]
    assert min(float(o[0]) for o in said)<1.5 and said[0][1:]==[], said

# ---- names of others

ARMS = 'variant arm Model architecture arch model_name method params.model config.variant params_variant params/variant config/arch hparams.model flag:variant tags.variant group'.split()
SEEDS = 'seed Seed random_seed params.seed config/seed params_seed user_attrs_seed hparams.seed rng_seed manual_seed replicate run'.split()
ACCS = ('accuracy acc Acc val_acc valid_acc val_accuracy eval_top1 top1 top-1 acc1 Acc@1 Prec@1 test_acc test/accuracy val/acc metrics.accuracy metrics.val_acc summary.val_acc eval_accuracy accuracy_top1 '
    'val_MulticlassAccuracy user_attrs_accuracy value values_0 score final_acc').split()+['Val Acc','Test accuracy','val acc epoch']

@pytest.mark.parametrize('header', [*((o,'seed','accuracy') for o in ARMS), *(('variant',o,'accuracy') for o in SEEDS), *(('variant','seed',o) for o in ACCS)], ids='-'.join)
def test_the_names_of_other_tools_are_known_and_said(call, header):
    (c,),err = comparisons(call, wrote(csv_text(header=header)))
    is_the_five(c)
    plain = [o.lower() for o in header] in (['variant','seed','accuracy'],['arm','seed','accuracy'],['variant','seed','acc'])
    assert err==('' if plain else f'r.csv: arm = {header[0]}, seed = {header[1]}, accuracy = {header[2]}.\n')

def test_columns_may_be_named(call):
    f = wrote(csv_text(header=('kind','k','quality')))
    refused(call, f, says=('--arm COLUMN','--acc COLUMN','kind, k, quality'))
    refused(call, f, '--arm', 'kin', '--acc', 'quality', says=("no column 'kin'",'kind'))
    is_the_five(comparisons(call, f, '--arm', 'Kind', '--seed', 'k', '--acc', 'quality')[0][0])
    (c,),err = comparisons(call, CASES/'good.csv', '--seed', 'seed', '--arm', 'variant')
    is_the_five(c)

def test_two_accuracies_are_no_guess(call):
    f = wrote(with_columns(test_acc=[round(r[2]-.1+i%3/100, 3) for i,r in enumerate(ROWS)]))
    err = refused(call, f, says=('accuracy or test_acc','--acc accuracy'))
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])
    assert comparisons(call, f, '--acc', 'test_acc')[0][0]['mean_baseline']<.6

def test_an_error_rate_is_one_minus_accuracy(call):
    (c,),err = comparisons(call, wrote(csv_text([(a,s,round(1-x, 3)) for a,s,x in ROWS], ('model','seed','error_rate'))))
    is_the_five(c)
    assert 'accuracy = 1 - error_rate' in err

EXPORTS = dict(
    wandb=('Name,State,Notes,User,Tags,Created,Runtime,Sweep,variant,seed,epochs,_runtime,_timestamp,train_loss,val_acc', lambda i,a,s,x: f'run-{i},finished,,me,,2026-11-0{1+i//5}T10:0{i%5},{400+i},,{a},{s},5,{400.5+i},{1.7e9+i},{.5+i/100},{x}'),
    mlflow=('run_id,experiment_id,status,artifact_uri,start_time,end_time,metrics.val_accuracy,metrics.loss,params.seed,params.model,tags.mlflow.runName,tags.mlflow.user', lambda i,a,s,x: f'a{i}f,1,FINISHED,s3://x/a{i}f,2026-11-01 1{i}:00,2026-11-01 1{i}:30,{x},{1.1-i/50},{s},{a},able-ape-{i},me'),
    optuna=('number,value,datetime_start,datetime_complete,duration,params_arch,params_seed,user_attrs_params,state', lambda i,a,s,x: f'{i},{x},2026-11-01 1{i}:00,2026-11-01 1{i}:20,0 days 00:0{i}:00,{a},{s},{2830678+(a!="baseline")},COMPLETE'),
    guild=('run,operation,started,time,status,label,variant,seed,step,loss,acc', lambda i,a,s,x: f'ab{i:06},train,2026-11-01 1{i}:00:00,0:06:4{i},completed,,{a},{s},4,{1.2+i/100},{x}'),
    own=('recipe,variant,env,seed,status,acc,best_acc,best_epoch,n_images,params,train_seconds,wall_seconds,source,finished', lambda i,a,s,x: f'r,{a},cpu,{s},ok,{x},{x+.004},{3+i%2},500,{10+(a!="baseline")},{7+i},{8+i},full,2026-11-21T20:0{i}'))

@pytest.mark.parametrize('tool', EXPORTS)
def test_the_export_of_a_tool_needs_no_option(call, tool):
    header,row = EXPORTS[tool]
    f = wrote('\n'.join([header, *(row(i, *o) for i,o in enumerate(ROWS))]))
    (c,),err = comparisons(call, f)
    is_the_five(c)
    assert "not used, because each run has its own: " in err and err.count('\n')==1

LOGS = dict(fastai='epoch,train_loss,valid_loss,accuracy,time', timm='epoch,train_loss,eval_loss,eval_top1,eval_top5,lr', lightning='epoch,step,train_loss,val_loss,val_acc')
@pytest.mark.parametrize('tool', LOGS)
@pytest.mark.parametrize('seeds', [True,False])
def test_the_log_of_a_tool_is_read_at_its_last_epoch(call, tool, seeds):
    def lines(a, s, x):
        for e in range(3):
            acc,last = round(x-.1*(2-e), 3),''
            row = dict(fastai=f'{e},{1-e/9},{.9-e/9},{acc},00:{10+e}', timm=f'{e},{1-e/9},{.9-e/9},{acc},{acc+.2},{.01/(e+1)}', lightning=f'{e},{100*e+99},,{.9-e/9},{acc}')[tool]
            if tool=='lightning': yield f'{a},{s},{e},{100*e+49},{1-e/9},,'
            yield f'{a},{s},{row}'
    text = '\n'.join([f'variant,seed,{LOGS[tool]}', *(o for r in ROWS for o in lines(*r))])
    if not seeds: text = re.sub(r'^(\w+),\w+,', r'\1,', text, flags=re.M)
    f = wrote(text)
    err = refused(call, f, says=('epoch (0, 1, 2)','epoch=last'))
    (c,),_ = comparisons(call, *commands(err)[0][1:])
    is_the_five(c) if seeds else is_welch(c)

def test_runs_that_end_at_different_epochs_are_not_mixed(call):
    rows = [(a,s,e,round(x-.1*(4-e), 3)) for a,s,x in ROWS for e in range(3 if (a,s)==('simple',2) else 5)]
    f = wrote(csv_text(rows, ('variant','seed','epoch','accuracy')))
    err = refused(call, f, says='epoch (0, 1, 2, 3, ...) varies')
    assert commands(err)==[['compare',f,'--where','epoch=last']]
    (c,),err = comparisons(call, f, '--where', 'epoch=last')
    assert c['n']==5 and err.startswith(f'{f}: runs end at epoch 2 to 4 (stopped early, or not finished).')
    assert comparisons(call, f, '--where', 'epoch=4')[0][0]['n']==4

def test_steps_of_a_log_are_named_beside_its_epochs_under_any_spelling(call):
    rows = [(a,s,e,10*e+k,round(x-.1*(4-e)+k/1000, 3)) for a,s,x in ROWS for e in range(3 if (a,s)==('simple',2) else 5) for k in range(2)]
    err = refused(call, wrote(csv_text(rows, ('variant','seed','Epoch','Step','accuracy'))), '--by', 'epoch', says='Step (0, 1, 10, 11, ...) varies')
    assert [o[2:] for o in commands(err)]==[['--where','Step=last','--by','epoch']]

def test_arms_that_were_trained_for_other_epochs_are_not_mixed(call):
    rows = [(a,s,e,10*e,round(x-.1*(4-e), 3)) for a,s,x in ROWS for e in range(5 if a=='simple' else 4 if s else 3)]
    f = wrote(csv_text(rows, ('variant','seed','epoch','step','accuracy')))
    refused(call, f, '--where', 'epoch=last', says='epoch (2, 3, 4), step (20, 30, 40) vary')
    err = refused(call, f, says='--where epoch=2') # which all ten runs have reached
    assert comparisons(call, *commands(err)[0][1:])[0][0]['n']==5

def test_a_run_that_ended_far_before_the_others_is_named(call):
    rows = [(a,s,e,round(x-.1*(2-e), 3)) for a,s,x in ROWS for e in range(1 if (a,s)==('simple',2) else 3)]
    err = refused(call, wrote(csv_text(rows, ('variant','seed','epoch','accuracy'))), '--where', 'epoch=last', says=('(simple, seed 2)','at epoch 0','not finished'))
    assert comparisons(call, *commands(err)[0][1:])[0][0]['n']==4

def scalars(*tags):
    "What TensorBoard writes: a row for each run, tag and step"
    yield 'run,tag,step,value,wall_time'
    for a,s,x in ROWS:
        for tag in tags:
            for e in range(3): yield f"{a}/seed{s},{tag},{e},{x-.1*(2-e) if 'acc' in tag else 1-e/9:.4f},{1.7e9+e+s}"

@pytest.mark.parametrize('tags', [('val/acc',),('val/acc','val/loss'),('train/loss','val_accuracy')])
def test_scalars_of_tensorboard_are_read(call, tags):
    err = refused(call, wrote('\n'.join(scalars(*tags))), says='step (0, 1, 2)')
    (c,),err = comparisons(call, *commands(err)[0][1:])
    assert is_the_five(c) is None and 'arm and seed = the parts of run, such as baseline/seed0' in err and 'accuracy = val' in err

def test_two_accuracies_among_scalars_are_no_guess(call):
    err = refused(call, wrote('\n'.join(scalars('train/acc','test/acc','val/acc'))), says=('test/acc or val/acc','--where tag=val/acc'))
    err = refused(call, *commands(err)[0][1:], says='step=last')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

@pytest.mark.parametrize('form', ['{}/seed{}','{}_seed{}','{}-s{}','{} run {}','{}.seed={}','{}-Seed-{}'])
@pytest.mark.parametrize('header', ['Name','run','run_name','experiment'])
def test_runs_that_are_called_by_arm_and_seed_are_pairs(call, form, header):
    (c,),err = comparisons(call, wrote(csv_text([(form.format(a, s),'finished',x) for a,s,x in ROWS], (header,'State','val_acc'))))
    assert is_the_five(c) is None and f'arm and seed = the parts of {header}' in err

def test_a_chart_of_wandb_is_read(call):
    names = [f'{a}-s{s} - val_acc{end}' for a,s,_ in ROWS for end in ('','__MIN','__MAX')]
    rows = [(e, *(f'{x-.1*(2-e):.3f}' for _,_,x in ROWS for _ in range(3))) for e in range(3)]
    err = refused(call, wrote(csv_text(rows, ('epoch',*names))), says='epoch=last')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

def test_either_of_two_columns_may_be_the_arm(call):
    rows = [('resnet'+m,a,s,x) for m in ('18','50') for a,s,x in ROWS]
    err = refused(call, wrote(csv_text(rows, ('model','attention','seed','accuracy'))), says='--arm attention --by model')
    way = next(o for o in commands(err) if '--arm' in o)
    code,out,err = call(*way, '--fmt', 'json')
    assert code==0
    for part in json.loads(out).values(): is_the_five(part['comparisons'][0])

def test_what_says_the_arm_or_the_run_again_is_no_condition(call):
    again = dict(Group=['BASELINE']*5+['simple']*5, label=[f'variant={a} seed={s}' for a,s,_ in ROWS], _step=[5,6]*5)
    is_the_five(comparisons(call, wrote(with_columns(**again)))[0][0])
    refused(call, wrote(with_columns(_step=[5]*10, label=['x','y']*5)), says='label (x, y)')

def nested(): return [dict(info=dict(run_id=f'a{i}', status='FINISHED'), data=dict(metrics=dict(val_acc=x), params=dict(seed=str(s), model=a))) for i,(a,s,x) in enumerate(ROWS)]
def listed(): return [dict(info=o['info'], data={k:[dict(key=n, value=v) for n,v in part.items()] for k,part in o['data'].items()}) for o in nested()]
WRITTEN = dict(exponents=csv_text([(a,s,f'{x:.4E}'.replace('.', ',')) for a,s,x in ROWS], sep=';'), formula='variant;seed;accuracy\n'+''.join(f'{a};{s};"=""{x}"""\n' for a,s,x in ROWS), dots=csv_text([(a,s,f'{round(x*5000):,}'.replace(',', '.'),'5.000') for a,s,x in ROWS], ('variant','seed','correct','n_images'), ';'),
    stopped=csv_text([(*r,'Early stopped' if i else 'Finished') for i,r in enumerate(ROWS)], ('variant','seed','accuracy','State')), wandb=csv_text([(a,s,x,0) for a,s,x in ROWS], ('config.model','config.seed','summaryMetrics.val_acc','summaryMetrics._step')),
    mlflow=json.dumps(nested()), mlflow_lists=json.dumps(dict(runs=listed())), cells='name,summary,config\n'+''.join(f'r{i},"{dict(val_acc=x, _runtime=7+i)}","{dict(model=a, seed=s)}"\n' for i,(a,s,x) in enumerate(ROWS)))
@pytest.mark.parametrize('kind', WRITTEN)
def test_what_other_tools_write_is_read(call, kind): is_the_five(comparisons(call, wrote(WRITTEN[kind]))[0][0])

# ---- nothing is pooled in silence

KEEPS_APART = dict(epochs=[5]*5+[20]*5, lr=[.01,.003]*5, amp=[True]*5+[False]*5, pretrained=[True,False]*5, optimiser=['adam']*9+['sgd'], release=[f'v{i%3}' for i in range(10)], ks=['']*5+[3]*5, dataset=['woof','nette']*5,
    fold=[0,1,2,3,4]*2, data_seed=[1,2,3,4,5]*2, loss=['ce']*5+['bce']*5, weight_loss=[.1]*5+[.2]*5, name=['a','b']*5, backbone=['r18','r50']*5, batch=[64]*5+['']*5, label_smoothing=[0.]*9+[.1], note=['x']*5+['y']*5, pooling=['mean']*5+['max']*5)
@pytest.mark.parametrize('column', KEEPS_APART)
def test_a_column_that_keeps_runs_apart_is_refused_by_name(call, column):
    values = KEEPS_APART[column]
    err = refused(call, wrote(with_columns(**{column:values})), says=(f'{column} (',f'--ignore {column}'))
    is_the_five(comparisons(call, 'r.csv', '--ignore', column.upper())[0][0])
    within = any(len({*values[k:k+5]})>1 for k in (0,5))
    assert ('within an arm' in err)==within and ('differs between arms' in err)!=within
    kept = any(min(values[k:k+5].count(o) for k in (0,5))>1 for o in values) # a value with two runs of each arm
    assert ('--where' in err)==('--by' in err)==(within and kept)

@pytest.mark.parametrize('column', KEEPS_APART)
def test_a_frame_is_refused_as_a_file_is(column):
    df = pd.DataFrame(as_rows()).assign(**{column:KEEPS_APART[column]})
    with pytest.raises(ValueError, match=rf"^{column} \(.*One answer cannot mix them.*drop\(columns=\['{column}'\]\)"): compare_many(df)
    assert compare_many(df.drop(columns=column))['simple'].diff==pytest.approx(.028)

def test_a_frame_with_a_column_for_each_run_is_compared():
    df = pd.DataFrame(as_rows()).assign(loss=np.arange(10)/10, params=[5]*5+[6]*5, finished=[f'2026-{i}' for i in range(10)], run_id=[*'abcdefghij'], size=128)
    assert compare_many(df)['simple'].diff==pytest.approx(.028)

def test_a_frame_may_hold_more_arms_than_are_compared():
    "A column that differs only from an arm that stands in no comparison mixes nothing"
    df = pd.concat([pd.DataFrame(as_rows()), pd.DataFrame(as_rows()).query("variant=='simple'").assign(variant='far')]).assign(size=[128]*10+[256]*5)
    with pytest.raises(ValueError, match='size'): compare_many(df)
    assert len(compare_many(df, None, contrasts=[('baseline','simple')]))==1

def frame(rows=ROWS, **more): return pd.DataFrame(rows, columns=['variant','seed','accuracy']).assign(**more)
def unseeded(rows): return frame(rows).drop(columns='seed')
MEAN_ROWS = [('baseline','mean',.6232),('simple','mean',.6512)]
NO_RUNS = dict(twice=(pd.concat([unseeded(ROWS)]*2), 'appear twice'), means=(unseeded([*ROWS[:5], MEAN_ROWS[0], *ROWS[5:], MEAN_ROWS[1]]), 'is the mean of the other rows'),
    labelled=(frame([*ROWS, *MEAN_ROWS]), r'row 11 \(baseline\) is a mean of other rows'), no_seed=(frame([*ROWS[:9], ('simple',np.nan,.64)]), 'row 10 .* has no seed'),
    capitals=(frame([*ROWS, ('Baseline',5,.6),('Baseline',6,.61)]), "'baseline' and 'Baseline' differ only"), blanks=(frame([*ROWS, ('baseline ',5,.6),('baseline ',6,.61)]), 'blanks or capitals'),
    seed=(frame([*ROWS, ROWS[3]]), 'seed 3 of .* appears twice'), summary=(frame([*ROWS, ('baseline mean',9,.62)]), 'summary of other rows'), odd=(frame(status=['ok']*9+['odd']), "the status 'odd'"))
@pytest.mark.parametrize('kind', NO_RUNS)
def test_rows_of_a_frame_that_are_no_runs_are_refused_as_those_of_a_file_are(kind):
    df,says = NO_RUNS[kind]
    for compared in (compare_many, compare_results):
        with pytest.raises((ValueError,CliError), match=says): compared(df)

INDEXED = dict(named=lambda df: df.set_index('dataset'), several=lambda df: df.set_index(['dataset','seed']), keys=lambda df: pd.concat({k:o.drop(columns='dataset') for k,o in df.groupby('dataset')}))
@pytest.mark.parametrize('kind', INDEXED)
def test_an_index_is_read_as_columns_are(kind):
    both = pd.concat([frame(dataset='woof'), frame([(a,s+10,x+.1) for a,s,x in ROWS], dataset='nette')])
    for compared in (compare_many, compare_results, best):
        with pytest.raises((ValueError,CliError), match=r'woof.* varies? within an arm'): compared(INDEXED[kind](both))
    assert compare_many(INDEXED[kind](both.assign(dataset='woof').head(10)))['simple'].n==5

def test_an_index_that_is_a_column_too_is_one(): assert compare_many(frame().set_index('seed', drop=False))['simple'].n==5

def test_a_frame_is_read_as_a_file_is():
    "Words of a status, an arm called None, and runs that go on, which are said"
    c = compare_many(frame(status=['finished']*4+['crashed']+['COMPLETE']*5))['simple']
    assert (c.n,c.failed_baseline)==(4,1)
    none = frame(variant=pd.Series([None]*5+['simple']*5, dtype=object))
    assert compare_many(none, 'None')['simple'].n==5
    c = compare_many(frame(status=['ok']*9+['running']))['simple']
    assert c.n==4 and any('1 of 10 runs is not finished' in o for o in c.notes)

OWN = dict(time=[f'0:06:{i}' for i in range(10)], Runtime=range(10), train_loss=[.1*i for i in range(10)], run_id=[*'abcdefghij'], params=[5]*5+[6]*5, best_epoch=[3,4]*5, best_acc=[.7]*9+[.8], top5=[.9]*9+[.95], train_acc=[.99]*9+[.98],
    GFLOPs=[1.2]*5+[1.3]*5, finished=[f'2026-11-{i+1}' for i in range(10)], precision=[.5+i/100 for i in range(10)], f1=[i/10 for i in range(10)], error_rate=[i/10 for i in range(10)], date=['1 Nov']*5+['2 Nov']*5, host=['a1','b2']*5, Hostname=['a1']*5+['b2']*5, eval_samples_per_second=[1000.2+i for i in range(10)], throughput=range(10), gpu_util=[.9+i/100 for i in range(10)],
    peak_memory_mb=[1204]*5+[1300]*5, memory_used=[1200+i for i in range(10)], train_acc_epoch=[.9+i/100 for i in range(10)], precision_macro=[.5+i/100 for i in range(10)], Duration=[f'{3+i} min' for i in range(10)], run=[0,1,2,3,4]*2)
@pytest.mark.parametrize('column', OWN)
def test_what_is_a_runs_own_needs_no_role(call, column):
    (c,),err = comparisons(call, wrote(with_columns(**{column:[*OWN[column]]})))
    is_the_five(c)
    assert err==f"r.csv: not used, because each run has its own: {column}.\n"

def test_the_list_of_a_runs_own_is_one_and_is_shown():
    assert {*of_a_run}=={'id','time','told','measured','size'} and '*_loss' in of_a_run['measured'].split()

def test_spellings_of_one_value_do_not_vary(call):
    is_the_five(comparisons(call, wrote(with_columns(lr=['0.003','3e-3']*5, epochs=['5','5.0']*5, size=[' 128','128 ']*5, steps=['"12,000"','12000']*5)))[0][0])

@hyp(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.data())
def test_every_command_that_a_refusal_prints_goes_on(data):
    "Random tables of two data sets, sizes and rates: what the refusal says is what works. Seven decimals: of four, one is at times the mean of the others"
    import contextlib
    choices = dict(dataset=['woof','nette'], size=['128','256'], lr=['0.01','3e-3'])
    used = data.draw(st.lists(st.sampled_from([*choices]), min_size=1, unique=True))
    cells = data.draw(st.lists(st.tuples(*(st.sampled_from(choices[o]) for o in used)), min_size=1, max_size=4, unique=True))
    rng,seed,rows = np.random.default_rng(data.draw(st.integers(0, 9))),0,[]
    for cell in cells:
        arms = data.draw(st.sampled_from([['baseline','simple'],['baseline','simple'],['baseline']]))
        n = data.draw(st.integers(3, 5))
        rows += [(a,seed+s,round(float(rng.normal(.6, .03)), 7),*cell) for a in arms for s in range(n)]
        seed += n
    wrote(csv_text(rows, ('variant','seed','accuracy',*used)), 'h.csv')
    def run(*words):
        out,err = io.StringIO(),io.StringIO()
        with contextlib.redirect_stdout(out),contextlib.redirect_stderr(err): code = main([*words])
        return code,out.getvalue(),err.getvalue()
    code,out,err = run('compare', 'h.csv')
    if len({r[0] for r in rows})<2: return
    varies = len(cells)>1
    assert (code==0)==(not varies), err
    if not varies: return
    assert all(f'{o} (' in err for k,o in enumerate(used) if len({c[k] for c in cells})>1)
    ways = commands(err)
    assert ways and '--ignore' in ways[-1]
    for way in ways:
        code,out,err = run(*way)
        assert code==0, (way, err)

def test_what_varies_within_a_part_is_refused_too(call):
    columns = dict(dataset=['woof','woof','woof','nette','nette']*2, lr=['.001','.003','.001','.003','.003']*2)
    f = wrote(with_columns(**columns))
    assert 'lr (' in refused(call, f, '--by', 'dataset', says='varies within an arm')
    assert set(compare_results(f, by=['dataset'], ignore=['lr']))=={'dataset=woof','dataset=nette'}

@pytest.mark.parametrize('column,values', [('env',('e1','e2')),('precision',('bf16','fp32')),('n_images',(1000,2000)),('fingerprint',('abc','def')),('pipeline',('a','b'))])
def test_what_makes_no_pairs_is_refused_with_the_commands_that_go_on(call, column, values):
    f = wrote(with_columns(**{column:[values[s>2] for _,s,_ in ROWS]}))
    for args in ((), ('--unpaired',)):
        err = refused(call, f, *args, says=f'{column} (')
        ways = commands(err)
        assert len(ways)==3 and all(call(*o)[0]==0 for o in ways)

def test_runs_by_arm_and_seed_are_read(call):
    runs = {arm:{f'seed{s}':dict(acc=x, loss=1-x) for a,s,x in ROWS if a==arm} for arm in ('baseline','simple')}
    is_the_five(comparisons(call, wrote(json.dumps(runs), 'r.json'))[0][0])

def by_arm(row): return {arm:[row(s, x) for a,s,x in ROWS if a==arm] for arm in ('baseline','simple')}
SHAPES = dict(rows_by_arm=by_arm(lambda s,x: dict(seed=s, acc=x)), wrapped=dict(results=by_arm(lambda s,x: dict(seed=s, acc=x))), lists=[['arm','seed','acc'],*ROWS], columns_by_arm=dict(baseline=dict(seed=[0,1,2,3,4], acc=BASE), simple=dict(seed=[0,1,2,3,4], acc=SIMPLE)),
    named={f'{a}_seed{s}':dict(acc=x) for a,s,x in ROWS}, flat={f'{a}-seed{s}':x for a,s,x in ROWS})
@pytest.mark.parametrize('kind', SHAPES)
def test_shapes_of_json_that_are_clear_are_read(call, kind): is_the_five(comparisons(call, wrote(json.dumps(SHAPES[kind]), 'r.json'))[0][0])

CELLS = dict(counts=csv_text([(a,s,f'{round(500*x)}/500') for a,s,x in ROWS]), keras=csv_text(header=('model','seed','val_sparse_categorical_accuracy')), blank_error=csv_text([(*o,'') for o in ROWS], ('variant','seed','score','error')))
@pytest.mark.parametrize('kind', CELLS)
def test_cells_and_names_that_are_clear_are_read(call, kind): is_the_five(comparisons(call, wrote(CELLS[kind]))[0][0])

def test_a_run_of_mlflow_that_failed_is_no_accuracy(call):
    runs = nested()
    for i,o in enumerate(runs): o['info'] |= dict(run_name=f'calm-{i}', start_time=1700000000000+i, end_time=1700000300000+i, status='FAILED' if i==4 else 'FINISHED')
    (c,),err = comparisons(call, wrote(json.dumps(dict(runs=runs)), 'r.json'))
    is_four(c)
    assert '1 of 10 runs failed' in err

def test_a_step_of_lightning_counts_a_log(call):
    err = refused(call, wrote(csv_text([(a,s,99+100*e,round(x-.1*(2-e), 3)) for a,s,x in ROWS for e in range(3)], ('model','seed','trainer/global_step','val_acc'))), says='trainer/global_step=last')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

def test_a_run_that_has_a_name_is_an_arm(call):
    rows = [(a,s,e,x-.1*(4-e)) for a,s,x in ROWS for e in range(5)]
    is_the_five(comparisons(call, wrote(csv_text(rows, ('run','seed','Step','Value'))), '--where', 'step=last')[0][0])

def test_an_accuracy_on_validation_images_is_offered_first(call):
    refused(call, wrote(csv_text([(a,s,.99,x) for a,s,x in ROWS], ('variant','seed','accuracy','val_accuracy'))), says='--acc val_accuracy')

def test_an_exit_code_is_a_status(call):
    (c,),err = comparisons(call, wrote(with_columns(exit_code=[0,0,0,0,-9]+[0]*5)))
    assert c['n']==4 and '1 of 10 runs failed' in err
    (c,),err = comparisons(call, wrote(with_columns(status='finished', exit_code=[0,0,0,0,255]+[0]*5)))
    assert is_the_five(c) is None and 'own: exit_code' in err

@pytest.mark.parametrize('cell', ['tensor(0.62)','.62, .644'])
def test_a_cell_that_is_no_number_is_named(call, cell): refused(call, wrote(csv_text([(a,s,f'"{cell}"') for a,s,_ in ROWS])), says=(cell,'not a number'))

# ---- a mean and an sd are no runs

SUMMARIES = dict(columns=('variant,mean_acc,std_acc,n\nbaseline,62.3,1.6,5\nsimple,65.1,1.5,5\n', '5'), accuracy=('variant,accuracy,std\nbaseline,0.623,0.016\nsimple,0.651,0.015\n', 'N'),
    cell=('variant,accuracy,n\nbaseline,62.3 +- 1.6,5\nsimple,65.1 ± 1.5,5\n', '5'))
@pytest.mark.parametrize('kind', SUMMARIES)
def test_a_mean_and_an_sd_are_given_as_fractions(call, kind):
    text,n = SUMMARIES[kind]
    err = refused(call, wrote(text), says=f'--summary 0.623,0.016,{n} 0.651,0.015,{n}')
    way = commands(err.replace(',N', ',5'))[0]
    assert call(*way)[0]==0

def test_the_seeds_beside_a_mean_are_read(call):
    rows = [f"{a},{','.join(map(str, x))},{np.mean(x):.4f},{np.std(x):.4f}" for a,x in (('baseline',BASE),('simple',SIMPLE))]
    err = refused(call, wrote('model,seed0,seed1,seed2,seed3,seed4,mean,std\n'+'\n'.join(rows)), says='--wide')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

@pytest.mark.parametrize('header', ['total','n'])
def test_counts_find_their_images(call, header):
    is_the_five(comparisons(call, wrote(csv_text([(a,s,round(500*x),500) for a,s,x in ROWS], ('variant','seed','correct',header))))[0][0])
    err = refused(call, wrote(csv_text([(a,s,round(500*x)) for a,s,x in ROWS], ('variant','seed','correct'))), says='n_images')
    assert '--percent' not in err

def test_counts_in_a_frame_are_counts():
    df = pd.DataFrame([dict(variant=a, seed=s, correct=round(500*x), n_images=500) for a,s,x in ROWS])
    assert compare_results(df)['simple'].diff==pytest.approx(.028)

def test_fractions_beside_percents_are_named_at_once(call):
    err = refused(call, wrote(csv_text([(a,s,x if a=='baseline' else 100*x) for a,s,x in ROWS])), says='Write them alike')
    assert '--percent' not in err

def test_a_run_that_stopped_early_is_a_run(call):
    is_the_five(comparisons(call, wrote(with_columns(status=['ok']*9+['early_stopped'], checkpoint=[f'{i}.pt' for i in range(10)], log_dir=[f'logs/{i}' for i in range(10)])))[0][0])

# ---- rows that are not runs of their own

def test_an_arm_without_a_name_is_named(call): refused(call, wrote(csv_text([*ROWS, ('',9,.5)])), says='row 12 (accuracy 0.5) has no variant')
@pytest.mark.parametrize('arms', [('Simple','simple'),('simple','simple '),('sim ple','simple'),('simple\xa0','simple')])
def test_arms_that_are_written_in_two_ways_are_named(call, arms):
    rows = [(arms[s%2] if a=='simple' else a,s,x) for a,s,x in ROWS]
    refused(call, wrote(csv_text(rows)), says=(*map(repr, arms),'blanks or capitals'))

@pytest.mark.parametrize('name', ['None','NA','nan','null','N/A','1e3','007','-','true'])
def test_an_arm_may_be_called_anything(call, name):
    (c,),_ = comparisons(call, wrote(csv_text([(name if a=='baseline' else a,s,x) for a,s,x in ROWS])))
    is_the_five(c, name)

def test_null_is_an_arm_of_json_that_has_the_key(call): is_the_five(comparisons(call, wrote(json.dumps([dict(o, variant=None if o['variant']=='baseline' else 'simple') for o in as_rows()]), 'r.json'))[0][0], 'None')

MEANS = dict(labelled=lambda a,xs: (a,'mean',np.mean(xs)), blank=lambda a,xs: (a,'',round(np.mean(xs), 4)), average=lambda a,xs: (a,'AVG',np.mean(xs)), sd=lambda a,xs: (a,'std',np.std(xs)))
@pytest.mark.parametrize('kind', MEANS)
@pytest.mark.parametrize('header', ['seed','run'])
def test_a_row_of_means_is_named(call, kind, header):
    rows = [*ROWS[:5], MEANS[kind]('baseline', BASE), *ROWS[5:], MEANS[kind]('simple', SIMPLE)]
    err = refused(call, wrote(csv_text(rows, ('variant',header,'accuracy'))))
    assert 'row 7' in err if header=='seed' or kind!='blank' else True

@pytest.mark.parametrize('digits,percent', [(3,False),(4,False),(12,False),(2,True)])
def test_a_mean_without_a_label_is_named(call, digits, percent):
    k = 100 if percent else 1
    rows = [(a,round(k*x, 3)) for a,xs in (('baseline',BASE),('simple',SIMPLE)) for x in (*xs, round(np.mean(xs), digits+percent))]
    refused(call, wrote(csv_text(rows, ('variant','accuracy'))), *(['--percent'] if percent else []), says='is the mean of the other rows')

def test_a_mean_that_stands_first_is_named(call):
    rows = [(a,x) for a,xs in (('baseline',BASE),('simple',SIMPLE)) for x in (round(np.mean(xs), 4), *xs)]
    refused(call, wrote(csv_text(rows, ('variant','accuracy'))), says=('row 2 (baseline, 0.6232)','is the mean of the other rows'))

def test_a_run_near_the_mean_is_a_run(call):
    rng,refusals = np.random.default_rng(0),0
    for _ in range(200):
        rows = [(a,f'{round(x*500)/500:g}') for a in ('baseline','simple') for x in rng.normal(.62, .015, 6)]
        refusals += call('compare', wrote(csv_text(rows, ('variant','accuracy'))))[0]!=0
    assert refusals<=4 # 2 %

@pytest.mark.parametrize('word', ['all','best','Mittelwert','ensemble','0-4','-'])
def test_a_word_among_whole_seeds_is_no_run(call, word):
    rows = [*ROWS, ('baseline',word,.6232), ('simple',word,.6512)]
    err = refused(call, wrote(csv_text(rows)), says='row 12 (baseline)')
    if word!='-': is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])
    with pytest.raises(ValueError, match=r'row 11 \(baseline\)') as e: compare_many(frame(rows))
    if word!='-': assert compare_many(eval(str(e.value).partition(': ')[2], dict(runs=frame(rows))))['simple'].n==5, 'the line of Python goes on too'

def test_seeds_that_are_all_words_are_seeds(call): is_the_five(comparisons(call, wrote(csv_text([(a,'abcde'[s],x) for a,s,x in ROWS])))[0][0])

SUMS = dict(middle=[*BASE[:3],.6232,*BASE[3:]], two=[.62,.644,.632], rounded=[f'{x:.4f}' for x in (.6201,.6443,.6019,.632,.618)]+['.623'])
@pytest.mark.parametrize('kind', SUMS)
def test_a_mean_of_one_arm_is_named_wherever_it_stands(call, kind):
    other = [.652,.658,.634] if kind=='two' else SIMPLE
    if kind=='two': other = [.652,.658,.655]
    rows = [(a,x) for a,xs in (('baseline',SUMS[kind]),('simple',other)) for x in xs]
    refused(call, wrote(csv_text(rows, ('variant','accuracy'))), says='is the mean of the other rows')

@pytest.mark.parametrize('kind', ['median','max','min'])
def test_another_summary_of_each_arm_is_named(call, kind):
    rows = [(a,x) for a,xs in (('baseline',BASE),('simple',SIMPLE)) for x in xs]
    rows += [(a,round(float(getattr(np, kind)(xs)), 3)) for a,xs in (('baseline',BASE),('simple',SIMPLE))]
    refused(call, wrote(csv_text(rows, ('variant','accuracy'))), says=('row 12 (baseline','of the other rows'))

@pytest.mark.parametrize('name', ['{} (5 runs)','{} best','{} (n=5)','all {}','Average','Durchschnitt'])
def test_one_row_that_sums_up_an_arm_is_no_arm(call, name):
    rows = [(a,x) for a,_,x in ROWS]+[(name.format('baseline'),.621)]
    refused(call, wrote(csv_text(rows, ('variant','accuracy'))), says=('row 12','summary of other rows'))

def test_an_arm_may_be_named_after_a_summary(call):
    "Of pooling, or of attention everywhere: with as many runs as the others"
    for arms in (('mean','max'),('simple','simple all')):
        (c,),_ = comparisons(call, wrote(csv_text([(arms[a=='simple'],s,x) for a,s,x in ROWS])))
        assert c['n']==5

def test_rows_that_were_pasted_twice_are_named(call):
    plain = [(a,x) for a,_,x in ROWS]
    for rows in (plain*2, [o for o in plain for _ in (0,1)], plain[:5]*2+plain[5:], plain+plain[1:5], plain[:2]*2+plain[5:7]*2):
        refused(call, wrote(csv_text(rows, ('variant','accuracy'))), says='appear twice')
    named = [(f'id{i}',a,x) for i,(a,x) in enumerate(plain)]
    refused(call, wrote(csv_text(named+named[3:4], ('run_id','variant','accuracy'))), says='row 5 (baseline) appears twice')

@pytest.mark.parametrize('name', ['{} mean','mean of {}','avg_{}','{} (mean)'])
def test_an_arm_that_is_a_summary_of_another_is_named(call, name):
    rows = [*ROWS, (name.format('baseline').replace(' of ',' '),9,.6232)]
    refused(call, wrote(csv_text(rows)), says=('row 12','summary of other rows'))

def test_arms_that_are_hashes_are_two(call):
    (c,),_ = comparisons(call, wrote(csv_text([('12e4567' if a=='simple' else '34e4567',s,x) for a,s,x in ROWS])))
    assert c['n']==5

@pytest.mark.parametrize('arms', [('1','1.0'),('1e3','1000'),('A','a')])
def test_arms_that_are_one_number_are_named(call, arms): refused(call, wrote(csv_text([(arms[s%2] if a=='simple' else a,s,x) for a,s,x in ROWS])), says='Write them alike')

def test_an_index_of_names_is_the_arm(call): is_the_five(comparisons(call, wrote(csv_text(header=('','seed','accuracy'))))[0][0])

def test_thousands_may_have_commas(call):
    text = 'variant;seed;correct;n_images\n'+''.join(f'{a};{s};"{round(x*5000):,}";"5,000"\n' for a,s,x in ROWS)
    is_the_five(comparisons(call, wrote(text))[0][0])

def test_a_seed_that_stands_twice_is_named_with_the_way_on(call):
    err = refused(call, wrote(csv_text([*ROWS, ('simple',2,.7)])), says=("seed 2 of 'simple' appears twice (rows 9, 12)",'--ignore seed'))
    (c,),_ = comparisons(call, *commands(err)[0][1:])
    assert c['test']=='Welch t' and c['n_variant']==6

# ---- numbers

@pytest.mark.parametrize('cell,says', [('', 'row 4 (baseline, seed 2) has no accuracy'), ('NaN','no accuracy'), ('None','no accuracy'), ('high',"'high'"), ('inf','not a number'), ('-0.1','-0.1'), ('60.2%','row 2 (baseline, seed 0) has no %'), ('60.2','row 4 (baseline, seed 2) has the accuracy 60.2'), ('1.2','1.2')])
def test_an_accuracy_that_is_none_is_named(call, cell, says): refused(call, wrote(csv_text([(a,s,cell if (a,s)==('baseline',2) else x) for a,s,x in ROWS])), says=says)

def test_percent_is_said_by_somebody(call):
    f = wrote(csv_text([(a,s,round(100*x, 1)) for a,s,x in ROWS]))
    err = refused(call, f, says='percent')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])
    refused(call, CASES/'good.csv', '--percent', says='Leave it out')
    refused(call, wrote(csv_text([(a,s,x if a=='baseline' else 100*x) for a,s,x in ROWS])), '--percent', says='looks like a fraction')
    mixed = [(a,s,f'{100*x:.1f}%' if s else round(100*x, 1)) for a,s,x in ROWS]
    refused(call, wrote(csv_text(mixed)), says='row 2 (baseline, seed 0) has no %, and others have one')

def test_counts_need_their_images(call):
    counts = [(a,s,round(500*x)) for a,s,x in ROWS]
    refused(call, wrote(csv_text(counts)), says='n_images')
    for header in ('n_images','num_images','n_val','n_samples'): is_the_five(comparisons(call, wrote(csv_text([(*o,500) for o in counts], ('variant','seed','correct',header))))[0][0])
    refused(call, wrote(csv_text([(*o,300) for o in counts], ('variant','seed','correct','n_images'))), says='outside 0-100 %')
    refused(call, wrote(csv_text([(*o,'many') for o in counts], ('variant','seed','correct','n_images'))), says='number of validation images')
    refused(call, wrote(csv_text([(a,s,round(100*x),500) for a,s,x in ROWS], ('variant','seed','accuracy','n_images'))), says=('--percent','call the column correct'))

@pytest.mark.parametrize('header', ['val_loss','loss','mae','test/perplexity','eval_nll','log_loss'])
def test_a_loss_is_no_accuracy(call, header):
    "Of a loss less is better, so its answer would stand on its head"
    path = wrote(csv_text([(a,s,round(1-x, 4)) for a,s,x in ROWS], ('model','seed',header)))
    assert '--acc COLUMN' in refused(call, path, says='accuracies') and header not in ' '.join(sum(commands(refused(call, path, says='accuracies')), []))
    refused(call, path, '--acc', header, says='lower is better')

@pytest.mark.parametrize('header', ['acc_at_best_val_loss','val_acc_min_loss','accuracy (cross entropy)','top1_of_lowest_loss'])
def test_an_accuracy_at_the_lowest_loss_is_one(call, header):
    is_the_five(comparisons(call, wrote(csv_text(ROWS, ('model','seed',header))), '--acc', header)[0][0])

@pytest.mark.parametrize('loss', ['mae','rmse','brier','eval_ppl'])
def test_a_loss_beside_what_was_measured_needs_no_role(call, loss):
    rows = [(a,s,x,round(1-x+.001*s, 4)) for a,s,x in ROWS]
    err = refused(call, wrote(csv_text(rows, ('model','seed','quality',loss))), says='--acc quality')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

def test_a_way_that_leads_nowhere_is_not_offered(call):
    files = dict(baseline='cfg/baseline.yaml', simple='cfg/gate.yaml')
    err = refused(call, wrote(csv_text([(a,s,x,files[a]) for a,s,x in ROWS], ('model','seed','acc','config'))), says='config')
    (c,),_ = comparisons(call, *commands(err)[0][1:])
    is_the_five(c)

@pytest.mark.parametrize('header,value', [('logdir','out/{a}_{s}'),('exp_name','{a}-{s}-x'),('agent','sweep-{a}{s}'),('trial_dir','t/{s}{a}'),('epochs to best','{n}')])
def test_what_each_run_has_of_its_own_needs_no_role(call, header, value):
    rows = [(a,s,x,value.format(a=a, s=s, n=3+7*i%11)) for i,(a,s,x) in enumerate(ROWS)]
    is_the_five(comparisons(call, wrote(csv_text(rows, ('model','seed','acc',header))))[0][0])

# ---- wide tables

WIDE = dict(named_seeds=('variant,seed0,seed1,seed2,seed3,seed4\n'+''.join(f"{a},{','.join(map(str, x))}\n" for a,x in (('baseline',BASE),('simple',SIMPLE)))),
    no_seed='baseline,simple\n'+''.join(f'{a},{b}\n' for a,b in zip(BASE, SIMPLE)), index=',baseline,simple\n'+''.join(f'{i},{a},{b}\n' for i,(a,b) in enumerate(zip(BASE, SIMPLE))),
    percent='Seed;baseline;simple\n'+''.join(f'{i};{100*a:.1f}%;{100*b:.1f}%\n' for i,(a,b) in enumerate(zip(BASE, SIMPLE))), lists=f'model,accs\nbaseline,"{BASE}"\nsimple,"{SIMPLE}"\n', tuples=f'baseline;{tuple(BASE)}\nsimple;{tuple(SIMPLE)}\n',
    json=json.dumps(dict(baseline=BASE, simple=SIMPLE)), nested=json.dumps(dict(baseline=dict(enumerate(BASE)), simple=dict(enumerate(SIMPLE)))), json_lists=json.dumps([dict(variant='baseline', accs=BASE), dict(variant='simple', accs=SIMPLE)]),
    bare=f'model,accuracy\nbaseline,"{str(BASE)[1:-1]}"\nsimple,"{str(SIMPLE)[1:-1]}"\n', blanks=f"model;accs\nbaseline;{' '.join(map(str, BASE))}\nsimple;{' '.join(map(str, SIMPLE))}\n".replace('.', ','),
    brackets=f'model;accs\nbaseline;"{[str(o) for o in BASE]}"\nsimple;"{[str(o) for o in SIMPLE]}"\n'.replace(', ', '; ').replace('.', ',').replace("'", ''), json_bare=json.dumps(dict(baseline=str(BASE)[1:-1], simple=str(SIMPLE)[1:-1])),
    no_header=f"baseline,{','.join(map(str, BASE))}\nsimple,{','.join(map(str, SIMPLE))}\n", settings='seed,baseline,simple,exit_code,epochs,lr\n'+''.join(f'{i},{a},{b},0,20,0.1\n' for i,(a,b) in enumerate(zip(BASE, SIMPLE))),
    constant='seed,dataset,baseline,simple\n'+''.join(f'{i},woof,{a},{b}\n' for i,(a,b) in enumerate(zip(BASE, SIMPLE))))
def in_columns(**more):
    "A column an arm, and more columns"
    return csv_text(zip(range(5), *more.values(), BASE, SIMPLE), ('seed',*more,'baseline','simple'))
def in_rows(form): return csv_text([('baseline',*BASE),('simple',*SIMPLE)], ('model',*(form.format(s) for s in range(5))))
GAPS = [round(b-a, 3) for a,b in zip(BASE, SIMPLE)]
HELPERS = dict(dropout=[.1]*5, ema_decay=[.99]*5, diff=GAPS, gain=GAPS, acc_diff=[-o for o in GAPS], gap_pp=[round(100*o, 1) for o in GAPS], p_value=[.01,.02,.03,.04,.05], mean=[.636,.651,.618,.652,.629], both=[(a+b)/2 for a,b in zip(BASE, SIMPLE)])
WIDE |= {f'beside_{k}':in_columns(**{k:v}) for k,v in HELPERS.items()}
WIDE |= {o:in_rows(o) for o in ('fold{}','fold {}','acc_seed{}','seed{}_acc','seed={}','split{}_test_score','Val Acc (run {})')}
WIDE |= dict(avg='model,s0,s1,s2,s3,s4,avg,std\nbaseline,.62,.644,.602,.632,.618,.6232,.0158\nsimple,.652,.658,.634,.672,.64,.6512,.015\n', wrapped=json.dumps(dict(results=dict(baseline=BASE, simple=SIMPLE))))
@pytest.mark.parametrize('kind', WIDE)
def test_a_wide_table_is_read_on_request(call, kind):
    f = wrote(WIDE[kind], 'wide.txt')
    err = refused(call, f, says='--wide')
    (c,),_ = comparisons(call, *commands(err)[0][1:])
    is_the_five(c)

def test_a_wide_table_with_a_column_that_varies_is_refused(call):
    text = 'seed,size,baseline,simple\n'+''.join(f"{i},{'small' if i%2 else 'large'},{a},{b}\n" for i,(a,b) in enumerate(zip(BASE, SIMPLE)))
    refused(call, wrote(text), '--wide', says=('size (large, small)','--where size=large','--wide'))

def test_a_list_beside_an_accuracy_is_read_on_request(call):
    is_the_five(comparisons(call, wrote(f'variant;accuracy;seed;runs\nbaseline;.6232;5;{BASE}\nsimple;.6512;5;{SIMPLE}\n'), '--wide', '--ignore', 'accuracy*', 'seed*')[0][0])

CURVE = [(e,round(.62-.3/(e+1), 3),round(.65-.29/(e+1), 3)) for e in range(8)]
CURVES = dict(columns=(csv_text(CURVE, ('epoch','baseline','simple')), 'epoch (0, 1'), steps=(csv_text(CURVE, ('global_step','baseline','simple')), 'global_step (0'),
    rows=(csv_text([o[1:] for o in CURVE], ('baseline','simple')), 'epoch (0, 1'), lists='', seeds=(csv_text([(e,*(round(x-.1/(e+1), 3) for x in BASE)) for e in range(5)], ('epoch',*range(5))), 'epoch (0'))
CURVES['lists'] = ('\n'.join(json.dumps(dict(model=a, val_acc=[o[k] for o in CURVE])) for k,a in ((1,'baseline'),(2,'simple'))), 'epoch (0, 1')
@pytest.mark.parametrize('kind', CURVES)
def test_epochs_of_one_run_are_no_seeds(call, kind):
    text,says = CURVES[kind]
    refused(call, wrote(text), '--wide', says=(says,'one run'))

def test_a_chart_of_wandb_without_its_bands_is_read(call):
    refused(call, wrote(csv_text(CURVE, ('Step','run1 - val_acc','run2 - val_acc'))), says=('Step (0, 1','one run'))
    rows = [(e, *(f'{x-.1*(2-e):.3f}' for _,_,x in ROWS)) for e in range(3)]
    err = refused(call, wrote(csv_text(rows, ('Step',*(f'{a}-s{s} - val_acc' for a,s,_ in ROWS)))), says='Step=last')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

def test_lists_that_rise_are_runs_on_request(call):
    err = refused(call, wrote(json.dumps(dict(baseline=sorted(BASE), simple=sorted(SIMPLE)))), '--wide', says='sorted')
    is_welch(comparisons(call, *commands(err)[0][1:])[0][0])

@pytest.mark.parametrize('counts', [{},dict(epoch=[0,1,2])], ids=['alone','beside epochs'])
def test_a_history_of_each_run_is_read_at_its_last_epoch(call, counts):
    f = wrote('\n'.join(json.dumps(dict(arm=a, seed=s, val_acc=[x-.1,x-.05,x]) | counts) for a,s,x in ROWS))
    err = refused(call, f, *([] if counts else ['--wide']), says='epoch=last')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

ENDED = dict(columns=csv_text([*zip(BASE, SIMPLE),(.6232,.6512)], ('baseline','simple')), list=json.dumps(dict(baseline=[*BASE,.6232], simple=[*SIMPLE,.6512])), seed=csv_text([*zip(range(6), [*BASE,.6232], [*SIMPLE,.6512])], ('seed','baseline','simple')))
@pytest.mark.parametrize('kind', ENDED)
def test_a_mean_that_ends_a_wide_table_is_no_run(call, kind):
    err = refused(call, wrote(ENDED[kind]), '--wide', says='is the mean of the other rows')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

@pytest.mark.parametrize('seed', [5,999])
def test_a_mean_that_has_a_seed_is_no_run(call, seed):
    rows = [*ROWS, ('baseline',seed,.6232), ('simple',seed,.6512)]
    err = refused(call, wrote(csv_text(rows)), says='row 12 (baseline, 0.6232) is the mean')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])
    with pytest.raises(ValueError, match='is the mean') as e: compare_many(frame(rows))
    assert compare_many(eval(str(e.value).rpartition(': ')[2], dict(runs=frame(rows))))['simple'].n==5

@pytest.mark.parametrize('made', [GAPS,[(a+b)/2 for a,b in zip(BASE, SIMPLE)]], ids=['difference','mean'])
def test_an_arm_that_is_made_of_two_others_is_none(call, made):
    err = refused(call, wrote(csv_text([*ROWS, *(('both',s,x) for s,x in enumerate(made))])), says=('row 12 (both, seed 0)','made of'))
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

def test_numbers_beside_a_column_of_arms_are_no_arms(call):
    rows = [(a,x,round(x+.1, 3)) for a,_,x in ROWS]
    for args in ((), ('--wide',)):
        err = refused(call, wrote(csv_text(rows, ('model','imagewoof','imagenette'))), *args, says='may be imagewoof or imagenette')
        is_welch(comparisons(call, *commands(err)[0][1:])[0][0])

def test_lists_of_several_arms_and_data_sets_are_not_pooled(call):
    sets = dict(woof=dict(baseline=BASE, simple=SIMPLE), nette=dict(baseline=[x+.1 for x in BASE], simple=[x+.1 for x in SIMPLE]))
    err = refused(call, wrote(json.dumps(sets)), '--wide', says='column 1 (woof, nette)')
    code,out,_ = call(*next(o for o in commands(err) if '--by' in o), '--fmt', 'json')
    for part in json.loads(out).values(): is_the_five(part['comparisons'][0])

@pytest.mark.parametrize('kind,args', [('lists',('--acc','x')),('lists',('--seed','x')),('lists',('--acc','model')),('no_seed',('--acc','baseline')),('no_seed',('--arm','simple')),('named_seeds',('--acc','seed0')),('named_seeds',('--seed','seed0'))], ids=str)
def test_what_a_wide_table_cannot_heed_is_refused(call, kind, args): refused(call, wrote(WIDE[kind]), '--wide', *args, says=args[1])

@pytest.mark.parametrize('text,args', [('model,seed0,seed1\nbaseline,.62,.64\nsimple,.65,.66\n',('--arm','Model')), ('seed,baseline,simple\n3,.62,.65\n7,.64,.66\n',('--seed',' SEED'))], ids=['arm','seed'])
def test_a_wide_table_heeds_a_header_in_other_capitals(call, text, args): assert comparisons(call, wrote(text), '--wide', *args)==comparisons(call, wrote(text), '--wide')

def test_lists_of_different_lengths_are_no_pairs(call):
    (c,),err = comparisons(call, wrote(f'baseline,"{BASE}"\nsimple,"{SIMPLE[:4]}"\n'), '--wide')
    assert c['test']=='Welch t' and 'different numbers of runs' in err

# ---- status

@pytest.mark.parametrize('good', ['ok','finished','FINISHED','completed','COMPLETE','Success','done'])
@pytest.mark.parametrize('bad', ['Timed out','OUT_OF_MEMORY','failed','FAILED','crashed','killed','Error','PRUNED','terminated'])
def test_statuses_mean_what_they_mean(call, good, bad):
    status = [good]*10; status[4] = bad
    text = with_columns(State=status).replace('0.618,', ',') # a failed run has no accuracy
    (c,),err = comparisons(call, wrote(text))
    is_four(c)
    word = bad.lower().replace(' ', '_')
    assert c['failed_baseline']==1 and f'1 of 10 runs failed, and its accuracy is not used ({word})' in err

def test_a_run_that_goes_on_is_left_out_and_counted(call):
    (c,),err = comparisons(call, wrote(with_columns(State=['finished']*9+['running'])))
    assert c['n']==4 and c['failed_variant']==0 and '1 of 10 runs is not finished' in err

def test_diverged_runs_are_runs(call):
    (c,),_ = comparisons(call, wrote(with_columns(status=['ok']*9+['diverged'])))
    assert c['diverged_variant']==1

ENDS = dict(finished=('TRUE','FALSE'), success=(1,0), failed=('no','yes'), completed=('Yes','No'), outcome=('done','crashed'), crashed=('False','True'), Success=('1.0','0.0'))
@pytest.mark.parametrize('header', ENDS)
def test_a_column_may_say_by_yes_and_no_how_a_run_ended(call, header):
    good,bad = ENDS[header]
    ends = [good]*10; ends[4] = bad
    for more in ({}, dict(status='finished'), dict(state='ok')):
        (c,),err = comparisons(call, wrote(with_columns(**more, **{header:ends})))
        is_four(c)
        assert c['failed_baseline']==1 and '1 of 10 runs failed' in err

def test_the_state_of_a_job_is_how_it_ended(call): is_four(comparisons(call, wrote(with_columns(job_state=['COMPLETED']*4+['FAILED']+['COMPLETED']*5)))[0][0])

def test_two_columns_may_say_how_a_run_ended(call):
    (c,),_ = comparisons(call, wrote(with_columns(status=['finished']*10, state=['COMPLETED']*4+['KILLED']+['COMPLETED']*5)))
    is_four(c)

CHOSEN = dict(duration=['short','long']*5, runtime=['torch']*5+['onnx']*5, train_time=['1h','4h']*5, aux_loss_weight=[.1,.4]*5, error_rate=[.1,.2]*5, memory=[4096]*5+[65536]*5, fps=[8]*5+[16]*5, params=[25e6,11e6]*5, gflops=[1.2,1.8]*5,
    finished=['early','late']*5, train_hours=[1]*5+[4]*5, elapsed=['a_lot','little']*5, dropout_loss_scale=[1,2]*5, memory_efficient_attention=[0,0,1,1,1]*2, external_memory=[0]*9+[1], memory_slots=[4,8]*5, memory_size=[8]*5+[16]*5,
    ram_size=[8,16]*5, hours=[1,4]*5, minutes=[10,10,30,30,30]*2, warmup_seconds=[1,2,4,8,16]*2, use_history=[True,False]*5, multi_host=['yes','no']*5, run=[1,1,1,2,2]*2, train_accumulation_steps=[1,2,4,8,16]*2,
    precision_bits=[8,16,32,64,4]*2, aux_loss=[.1,.2,.3,.4,.5]*2)
@pytest.mark.parametrize('column', CHOSEN)
def test_a_setting_under_the_name_of_a_measurement_is_refused(call, column):
    refused(call, wrote(with_columns(**{column:CHOSEN[column]})), says=(f'{column} (',f'--ignore {column}'))
    with pytest.raises(ValueError, match=rf'^{column} \('): compare_many(pd.DataFrame(as_rows()).assign(**{column:CHOSEN[column]}))

TIMES = ['2026-11-01T10:00:00Z','2026-11-01 10:00:00.123456+00:00','1 Nov 2026','Nov 1, 2026 10:00 AM','0 days 00:00:07.25','6m 40s','1h 4m','412.5s','0:06:40','11/01/26','P0DT0H6M40S'][:10]
@pytest.mark.parametrize('text', TIMES)
def test_times_are_written_in_many_ways(call, text):
    is_the_five(comparisons(call, wrote(with_columns(duration=[f'"{text}"']*9+['"0:07:01"'])))[0][0])

def test_an_unknown_status_is_named_with_the_way_on(call):
    err = refused(call, wrote(with_columns(state=['finished']*9+['odd'])), says=("'odd'",'row 11 (simple, seed 4)','--ignore state'))
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

# ---- what was asked

@pytest.mark.parametrize('args,says', [(('--where','sizes=1'), ("no column 'sizes'",'size')), (('--where','size=3'), ('no row has size=3','128, 256')), (('--where','size'), 'COL=VALUE'), (('--by','sizes'), "no column 'sizes'"), (('--ignore','nothing*'), 'no such column'),
    (('--ignore','accuracy'), 'cannot be left out'), (('--by','variant'), 'that is the arm'), (('--by','seed'), 'that is the seed'), (('--arm','size','--acc','size'), 'one column cannot be two'), (('--where','arm=simple','--ignore','size'), 'second arm'), (('--env','cpu'), '--env')], ids=str)
def test_what_cannot_be_heeded_is_refused(call, args, says): refused(call, wrote(with_columns(size=[128,256]*5)), *args, says=says)

@pytest.mark.parametrize('option', [('--where','a=b'),('--by','a'),('--ignore','a'),('--percent',),('--wide',),('--arm','x'),('--against','0.5')], ids=str)
def test_options_of_a_file_are_not_for_a_study(call, option):
    for what in (['woof'], ['--summary','.8,.01,5','.81,.01,5']): refused(call, *what, *option, says=option[0])

@pytest.mark.parametrize('header', ['fold','trial','id','number'])
def test_what_counts_the_runs_of_each_arm_is_offered_as_their_seed(call, header):
    err = refused(call, wrote(csv_text(header=('variant',header,'accuracy'))), says=f'{header} (0, 1')
    assert commands(err)[0][-2:]==['--seed',header]
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

def test_a_column_is_not_both_kept_apart_and_left_out(call):
    f = wrote(with_columns(size=[128,128,128,256,256]*2, lr=[1,2]*5))
    refused(call, f, '--by', 'size', '--ignore', 'SIZE', says='--by size and --ignore size')
    with pytest.raises(CliError, match='cannot both'): compare_results(f, by=['size'], ignore=['size'])
    assert len(compare_results(f, by=['size'], ignore=['*']))==2

def test_values_are_alternatives_and_globs_are_names(call):
    f = wrote(with_columns(size=[128,256]*5, lr_a=[1,2]*5, lr_b=[2,1]*5))
    is_the_five(comparisons(call, f, '--where', 'size=128', 'SIZE=256.0', '--ignore', 'lr_*', 'size')[0][0])
    is_the_five(comparisons(call, f, '--ignore', '*')[0][0])

def test_a_part_without_two_arms_says_so_and_the_others_go_on(call):
    rows = [(*o,'woof') for o in ROWS]+[('baseline',s,.8+s/100,'nette') for s in range(5)]
    code,out,_ = call('compare', wrote(csv_text(rows, ('variant','seed','accuracy','dataset'))), '--by', 'dataset')
    assert code==0 and 'dataset=nette\nonly \'baseline\'' in out and '+2.80 pp' in out

def test_a_refusal_keeps_what_was_asked(call):
    err = refused(call, wrote(with_columns(size=[128,256]*5), 'my runs.csv'), '--unpaired', '--delta', '0.02', '--baseline', 'simple', says="'my runs.csv'")
    for way in commands(err): assert {'--unpaired','--delta','0.02','--baseline'} <= {*way} and 'my runs.csv' in way

# ---- one published number

def test_own_runs_against_one_published_number(call):
    from scipy import stats
    code,out,err = call('compare', CASES/'good.csv', '--against', '0.61', '--fmt', 'json')
    rows = json.loads(out)['against']
    assert code==0 and [o['arm'] for o in rows]==['baseline','simple']
    for row,x in zip(rows, (BASE,SIMPLE)):
        low,high = np.array(stats.t.interval(.975, 4, np.mean(x), stats.sem(x)))-.61
        assert (row['p'],row['low'],row['high'])==pytest.approx((stats.ttest_1samp(x, .61).pvalue, low, high)) and row['n']==5
        half = stats.t.ppf(1-.0125, 4)*np.std(x, ddof=1)*(1+1/5)**.5
        assert row['high_one_run']-row['low_one_run']==pytest.approx(2*half)
    assert [o['verdict'] for o in rows]==['undecided','better'] and rows[1]['verdict_one_run']=='undecided'
    out = call('compare', CASES/'good.csv', '--against', '0.61')[1]
    assert 'one-sample t, n = 5' in out and 'was not published' in out
    one = wrote(csv_text(ROWS[:5]))
    assert json.loads(call('compare', one, '--against', '0.61', '--fmt', 'json')[1])['against'][0]['family']==1

def test_the_table_against_a_number_says_what_the_table_of_comparisons_says(call):
    rows = [('v', i, o, 'ok') for i,o in enumerate(BASE)] + [('v', 9, '', 'diverged')] + [('w', i, '', 'diverged') for i in range(4)] + [('u', i, .6, 'ok') for i in range(4)]
    code,out,_ = call('compare', wrote(csv_text(rows, ('variant','seed','acc','status'))), '--against', '.3')
    assert code==0 and 'better when it trains, by more than 1 pp (1 of 6 diverged)' in out and 'p of that answer' in out and '(95 % interval, 3 comparisons)' in out
    assert 'undecided (4 of 4 diverged)' in out and 'undecided: every run of an arm is the same' in out

def test_own_runs_against_a_number_need_no_column_of_arms(call):
    rows = json.loads(call('compare', wrote(csv_text([o[1:] for o in ROWS[:5]], ('seed','val_acc'))), '--against', '.61', '--fmt', 'json')[1])['against']
    assert [(o['arm'],o['n'],o['mean']) for o in rows]==[('these runs',5,pytest.approx(np.mean(BASE)))]

@pytest.mark.parametrize('text', ['\n'.join(map(str, BASE)), ', '.join(map(str, BASE)), json.dumps(BASE), '\n'.join(f'{100*o:.1f}%' for o in BASE), 'acc\n'+'\n'.join(map(str, BASE)), ' '.join(map(str, BASE))])
def test_one_list_of_numbers_against_a_number(call, text):
    f = wrote(text, 'mine.txt')
    (row,) = json.loads(call('compare', f, '--against', '.61', '--fmt', 'json')[1])['against']
    assert (row['n'],row['mean'])==(5,pytest.approx(np.mean(BASE)))
    refused(call, f, says='mine.txt --against')

def test_percents_against_a_number_keep_it_in_the_command(call):
    err = refused(call, wrote('\n'.join(f'{100*o:.1f}' for o in BASE)), '--against', '.61', says='--against 0.61 --percent')
    assert call(*commands(err)[0])[0]==0

def test_a_table_without_a_header_is_told_so(call): refused(call, wrote(csv_text().split('\n', 1)[1]), says=('holds numbers, so it names no columns', 'variant,seed,accuracy'))

@pytest.mark.parametrize('args,says', [(('--against','93.39'), 'fraction'), (('--against','0.6','--by','size'), '--by'), (('--against','0.6','--baseline','simple'), '--baseline'), (('--against','0'), 'fraction'), (('--against','0.6','--delta','0'), 'delta')], ids=str)
def test_what_is_no_published_number(call, args, says): refused(call, wrote(with_columns(size=[128,256]*5)), *args, '--ignore', 'size', says=says)

def test_too_few_runs_against_a_number(call): refused(call, wrote(csv_text(ROWS[:1])), '--against', '.6', says='at least two')

# ---- our own exports

def test_our_own_exports_are_read_back(call):
    want = load_runs(ROOT/'runs', recipe='demo')
    gain = want[want.variant=='gate'].acc.mean()-want[want.variant=='baseline'].acc.mean()
    for fmt in ('csv','json','md'):
        code,out,_ = call('runs', '--root', ROOT/'runs', '--recipe', 'demo', '--fmt', fmt)
        cs,_ = comparisons(call, wrote(out, f'own.{fmt}'))
        assert next(c for c in cs if c['arm']=='gate')['diff']==pytest.approx(gain, abs=1e-4)
    want.to_csv('frame.csv'); want.drop(columns='correct').to_json('frame.json')
    for path in ('frame.csv','frame.json',want): assert compare_results(path)['gate'].diff==pytest.approx(gain)
    assert compare_results(want)['gate'].new_verdict and compare_many(want)['gate'].diff==pytest.approx(gain)
    for study in ('woof-cpu','demo'):
        folder,ours = ROOT/'runs'/'_reports'/study,json.loads((ROOT/'runs'/'_reports'/study/'report.json').read_text())['comparisons']['comparisons']
        for name in ('runs.csv','report.json'):
            cs,_ = comparisons(call, folder/name)
            assert {c['arm']:c['diff'] for c in cs}==pytest.approx({c['arm']:c['diff'] for c in ours})
    refused(call, ROOT/'runs'/'_reports'/'demo'/'report.csv', says=('runs.csv','--summary'))
    with pytest.raises(ValueError, match='recipe'): compare_many(load_runs(ROOT/'runs', variant=['baseline','simple']))

def test_read_results_gives_runs_in_one_shape():
    df = read_results(CASES/'wandb_partial.csv')
    assert [*df.columns[:4]]==['arm','seed','acc','status'] and df.seed.tolist()==[0,1,2,3,4]*2 and df.acc.isna().sum()==1 and df.status.tolist().count('failed')==1
    assert compare_many(df)['simple'].diff==pytest.approx(.0295) and '1 of 10 runs failed' in df.attrs['said'][0]
    assert read_results(df).acc.tolist()[:4]==df.acc.tolist()[:4]

# ---- what is no table

NO_TABLE = dict(empty=b'', blank=b' \n \n', header=b'variant,seed,accuracy\n', nul=b'a\0b\0c,\1\2\3', zip=b'PK\3\4rest', pickle=b'\x80\4\x95', broken_gz=b'\x1f\x8b\x08\0\0\0', short_gz=gzip.compress(csv_text().encode())[:40], json_cut=b'[{"variant": "a"', json_number=b'[1, 2]', json_empty=b'[]', json_object=b'{}',
    json_scalars=b'{"a": 1}', json_deep=b'['*20000, twice=b'variant,seed,accuracy,accuracy\na,0,.5,.6\n', wide_row=b'variant,seed,accuracy\na,0,.5,7\nb,0,.5\n', quote=b'variant,seed,accuracy\n"a,0,.5\n', no_header=csv_text().split('\n', 1)[1].encode(),
    one_arm=csv_text(ROWS[:5]).encode(), one_run=csv_text(ROWS[:1]).encode(), all_failed=with_columns(status='failed').encode(), one_column=b'accuracy\n.5\n.6\n', words=b'This is a letter.\nIt has two lines.\n',
    big=b'variant,seed,accuracy\na,0,'+b'9'*5000+b'\n', surrogate=b'[{"variant": "\\ud800", "seed": 0, "accuracy": 0.5}]', yaml=b'a:\n  - 1\n')
@pytest.mark.parametrize('kind', NO_TABLE)
def test_what_is_no_table_is_one_line(call, kind): refused(call, wrote(NO_TABLE[kind]))

def test_what_is_not_there_is_named(call, tmp_path):
    refused(call, 'nowhere.tsv', says='nowhere.tsv')
    (tmp_path/'d.csv').mkdir(); refused(call, 'd.csv', says='d.csv')
    refused(call, wrote(csv_text()), 'good.csv', says='one csv file')

@hyp(max_examples=150, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.one_of(st.binary(max_size=80), st.text(st.sampled_from('variant,seed\n\t;|"[]{}:0.5%=-aé '), max_size=80).map(str.encode),
    st.lists(st.lists(st.sampled_from(['variant','seed','accuracy','a','b','0','1','.5','62','','nan','mean','62%','[1,2]','epoch','status','ok','1e400','٣']), min_size=1, max_size=5), max_size=9).map(lambda o: '\n'.join(map(','.join, o)).encode())),
    st.sampled_from([(),('--wide',),('--percent',),('--where','epoch=last'),('--by','seed'),('--ignore','*'),('--against','.5')]))
@example(b'\x01\n0,0', ('--wide',)) # what was read is not said before a refusal
def test_no_input_ends_in_a_traceback(data, args):
    import contextlib
    wrote(data, 'fuzz.csv')
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()),contextlib.redirect_stderr(err): code = main(['compare', 'fuzz.csv', *args])
    assert code in (0,2) and (code==0 or err.getvalue().startswith('simpleattn: ')), err.getvalue()

def calls_to_read(name, rows, columns):
    "Calls of functions, Python's and others, that reading a table takes: its time on any machine"
    file,calls = wrote(csv_text(rows, columns), name),Counter()
    sys.setprofile(lambda frame, event, arg: calls.update([event]))
    try: runs = read_results(file)
    finally: sys.setprofile(None)
    assert len(runs)==len(rows)
    return calls['call']+calls['c_call']

@pytest.mark.parametrize('seeded', [True,False])
def test_twice_as_many_rows_take_twice_the_work(seeded, call):
    rng = np.random.default_rng(0)
    rows = [(f'arm{k}',s,round(float(rng.normal(.6, .01)), 6),f'r{k}-{s}',rng.random(),5) for s in range(400) for k in range(5)]
    columns = ('variant','seed','accuracy','run_id','loss','epochs')
    if not seeded: rows,columns = [(o[0],*o[2:]) for o in rows],(columns[0],*columns[2:])
    calls_to_read('first.csv', rows[:100], columns) # modules that are imported
    one,two = (calls_to_read(f'{n}.csv', rows[:n], columns) for n in (1000,2000))
    assert one<two<2.2*one

def test_a_column_of_statuses_that_says_nothing_is_none(call):
    is_the_five(comparisons(call, wrote(csv_text([(*o,'') for o in ROWS], ('variant','seed','accuracy','status'))))[0][0])

def test_a_lone_arm_is_told_which_column_may_hold_the_arms(call):
    rows = [('resnet', a=='simple', s, x) for a,s,x in ROWS]
    refused(call, wrote(csv_text(rows, ('model','attention_on','seed','accuracy'))), says=('If attention_on is what was compared', '--arm attention_on'))

# Columns that are numbered: seeds or epochs

def by_column(names, *arms):
    "A csv with a row for each arm and a column for each of its numbers"
    return csv_text([(arm,*xs) for arm,xs in arms], ('arm',*names))

def test_numbered_accuracies_are_seeds_or_epochs_and_a_person_says_which(call):
    path = wrote(by_column([f'acc_{i}' for i in range(5)], ('baseline',BASE), ('simple',SIMPLE)))
    err = refused(call, path, says='are accuracies of several seeds or epochs')
    assert '--acc acc_4 --ignore acc_0 acc_1 acc_2 acc_3' in err
    is_the_five(comparisons(call, path, '--wide')[0][0])

@pytest.mark.parametrize('names', [('epoch_1','epoch_2','epoch_3'), ('acc_epoch0','acc_epoch1','acc_epoch2'), ('Step 0','Step 1','Step 2')])
@pytest.mark.parametrize('wide', [(), ('--wide',)])
def test_numbered_epochs_leave_the_last(call, names, wide):
    rows = [(arm,seed,.4,.5,x) for arm,xs in (('baseline',BASE),('simple',SIMPLE)) for seed,x in enumerate(xs)]
    path = wrote(csv_text(rows, ('arm','seed',*names)))
    err = refused(call, path, *wide, says='are accuracies of one run as it goes on')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

def test_one_row_of_numbered_accuracies_against_a_number(call):
    path = wrote(csv_text([BASE], [f'acc_{i}' for i in range(5)]))
    refused(call, path, '--wide', says=('one list of 5 accuracies','--against 0.9339'))
    assert call('compare', path, '--wide', '--against', '.6')[0]==0

def test_two_top_accuracies_are_not_numbered(call):
    rows = [(arm,seed,x,.9+x/20) for arm,xs in (('baseline',BASE),('simple',SIMPLE)) for seed,x in enumerate(xs)]
    is_the_five(comparisons(call, wrote(csv_text(rows, ('arm','seed','acc_1','acc_5'))))[0][0])

def test_a_table_of_too_many_columns_says_so(call):
    rows = [(a,s,x,*range(1200)) for a,s,x in ROWS]
    refused(call, wrote(csv_text(rows, ('arm','seed','acc',*(f'c{i}' for i in range(1200))))), says='has 1,203 columns, and at most 1,000 are read')

def test_a_refusal_names_no_more_columns_than_a_person_reads(call):
    rng = np.random.default_rng(0)
    rows = [(a,s,x,*rng.random(300).round(4)) for a,s,x in ROWS]
    err = refused(call, wrote(csv_text(rows, ('arm','seed','acc',*(f'c{i}' for i in range(300))))), says='and 292 more vary within an arm')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

@pytest.mark.parametrize('digits,n', [(2,5),(3,5),(4,3)])
def test_coarse_numbers_are_no_means(digits, n):
    "Runs of two digits are often equal to the mean of the others; 14 % of such tables were refused"
    rng, refusals = np.random.default_rng(3), 0
    for _ in range(100):
        rows = [(arm,seed,f'{x:.{digits}f}') for arm in ('baseline','simple') for seed,x in enumerate(rng.normal(.62, .012, n))]
        try: read_results(pd.DataFrame(rows, columns=['arm','seed','acc']))
        except CliError: refusals += 1
    assert refusals<=2

def test_an_arm_over_two_lines_is_said_on_one(call):
    rows = [('"base\nline"' if a=='baseline' else a,s,x) for a,s,x in ROWS]
    assert comparisons(call, wrote(csv_text(rows)))[0][0]['baseline']=='base line'
    table = pd.DataFrame([(a.strip('"'),s,x) for a,s,x in rows], columns=['arm','seed','acc'])
    assert compare_many(table, 'simple')['base line'].n==5
    rows[0] = ('base line',*rows[0][1:])
    refused(call, wrote(csv_text(rows)), says='differ only in blanks')

@pytest.mark.parametrize('text', ['arm;accs\nbaseline;[62,0; 64,4; 60,2]\nsimple;[65,2; 65,8; 63,4]\n', 'arm,accs\nbaseline,[62.0, 64.4, 60.2]\nsimple,[65.2, 65.8, 63.4]\n',
    'arm,accs,lr\nbaseline,[62.0,64.4],0.1\nsimple,[65.2,65.8],0.1\n', 'arm\taccs\nbaseline\t[62.0\t64.4]\nsimple\t[65.2\t65.8]\n'])
def test_a_list_in_brackets_is_one_cell_without_quotes(text):
    runs = read_results(wrote(text), wide=True, percent=True)
    assert [*runs.arm.unique()]==['baseline','simple'] and runs[runs.arm=='simple'].acc.tolist()[:2]==[.652,.658]

# Names before lists, keys of JSON, units

ENDS_A_NAME = [': ',' = ','=',' ','\t',' - ','; ',' | ',', ',':']
BETWEEN = [', ',',','; ',' ']
@pytest.mark.parametrize('end', ENDS_A_NAME)
@pytest.mark.parametrize('between', BETWEEN)
@pytest.mark.parametrize('scale', [1,100])
def test_no_number_of_a_named_list_is_lost(call, end, between, scale):
    def line(name, xs): return f'{name}{end}{between.join(f"{scale*o:.3f}" for o in xs)}\n'
    unit = ['--percent'] if scale>1 else []
    is_the_five(comparisons(call, wrote(line('baseline', BASE)+line('simple', SIMPLE), 'r.txt'), '--wide', *unit)[0][0])

@pytest.mark.parametrize('text', ['baseline: [0.62, 0.644]\nsimple: [0.652, 0.658]\n', '"baseline" = (.62, .644)\n"simple" = (.652, .658)\n',
    'baseline: 62,0; 64,4\nsimple: 65,2; 65,8\n', 'baseline: 62, 64.4\nsimple = 65.2, 65.8\n', 'baseline\t62.0, 64.4\nsimple: 65.2 65.8\n', 'baseline | 62, 64.4\nsimple | 65.2, 65.8\n',
    'baseline: 62.0, 64.4,\nsimple: 65.2,\n', '# by hand\nbaseline|62.0|64.4\n\nsimple|65.2|65.8\n'])
def test_a_name_before_a_list_ends_where_it_is_clear(text):
    runs = read_results(wrote(text), wide=True, percent='.6' not in text)
    assert [*runs.arm.unique()]==['baseline','simple'] and runs.acc[runs.arm=='baseline'].round(2).tolist()==[.62,.64] and runs.acc[runs.arm=='simple'].iloc[0]==.652

def test_a_name_may_end_in_a_number_before_a_colon():
    assert [*read_results(wrote('resnet 50: .62, .644\nlr=0.1: .652, .658\n'), wide=True).arm.unique()]==['resnet 50','lr=0.1']

@pytest.mark.parametrize('text', ['baseline 62, 64.4\nsimple 65, 65.8\n', 'resnet 50 .62 .644\nresnet 101 .652 .658\n', 'seed 0: .62, .652\nseed 1: .644, .658\n',
    'lr=0.1,.62,.644\nlr=0.2,.652,.658\n', '0: .62, .652\n1: .644, .658\n'])
def test_a_name_before_a_list_that_may_hold_a_number_of_it_is_refused(call, text): refused(call, wrote(text), '--wide', says='names no columns')

METRICS = dict(one=dict(accuracy=dict(baseline=BASE, simple=SIMPLE)), seeds=dict(acc={a:{str(i):x for i,x in enumerate(xs)} for a,xs in (('baseline',BASE),('simple',SIMPLE))}),
    named_seeds=dict(acc={a:{f'seed{i}':x for i,x in enumerate(xs)} for a,xs in (('baseline',BASE),('simple',SIMPLE))}))
@pytest.mark.parametrize('kind', METRICS)
def test_a_metric_with_a_part_for_each_arm_is_read(call, kind): is_the_five(comparisons(call, wrote(json.dumps(METRICS[kind]), 'r.json'), '--wide')[0][0])

def test_a_column_of_json_may_be_a_list_that_is_text(call):
    columns = {k:list(o) for k,o in zip(('arm','seed','acc'), zip(*ROWS))}
    is_the_five(comparisons(call, wrote(json.dumps(columns | dict(acc=str(columns['acc']))), 'r.json'))[0][0])

NO_HEADERS = dict(lists=[[['a']],['b']], dicts=[[dict(a=1),'b'],[1,2]], levels=dict(columns=[['acc','mean'],['acc','std']], index=['a'], data=[[.5,.1]]))
@pytest.mark.parametrize('kind', NO_HEADERS)
def test_a_header_of_json_holds_no_lists(call, kind): refused(call, wrote(json.dumps(NO_HEADERS[kind]), 'r.json'), says='r.json holds no runs')

def test_a_column_of_json_may_have_no_name(call):
    split = dict(columns=['arm','seed','acc',None], data=[[*o,0] for o in ROWS])
    is_the_five(comparisons(call, wrote(json.dumps(split), 'r.json'))[0][0])

def test_two_metrics_of_each_arm_are_not_pooled(call):
    arms, better = dict(baseline=BASE, simple=SIMPLE), dict(baseline=[x+.2 for x in BASE], simple=[x+.23 for x in SIMPLE])
    cs,err = comparisons(call, wrote(json.dumps(dict(train_acc=better, val_acc=arms)), 'r.json'), '--wide')
    is_the_five(cs[0])
    assert len(cs)==1 and 'accuracies = the list val_acc' in err and 'not used, because each run has its own: train_acc' in err
    err = refused(call, wrote(json.dumps(dict(test_acc=better, val_acc=arms)), 'r.json'), '--wide', says='the accuracy may be test_acc or val_acc')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

@pytest.mark.parametrize('runs', [lambda xs: xs, lambda xs: {str(i):o for i,o in enumerate(xs)}], ids=['lists','by seed'])
def test_two_data_sets_of_a_metric_are_not_pooled(call, runs):
    found = dict(val_acc={o:dict(baseline=runs(BASE), simple=runs(SIMPLE)) for o in ('woof','nette')})
    refused(call, wrote(json.dumps(found), 'r.json'), '--wide')

def of_two_sets(): return pd.concat([frame(dataset='woof'), frame([(a,s,x+.2) for a,s,x in ROWS], dataset='nette')])
SPLIT = dict(split=lambda df: df.set_index('dataset').to_json(orient='split'), levels=lambda df: df.set_index(['dataset','seed']).to_json(orient='split'),
    keys=lambda df: df.set_index(['dataset','variant','seed'])[['accuracy']].to_json(), table=lambda df: df.set_index('dataset').to_json(orient='table') if df.dataset.is_unique else df.to_json(orient='records'))
@pytest.mark.parametrize('kind', SPLIT)
def test_an_index_that_pandas_wrote_is_a_column(call, kind):
    path = wrote(SPLIT[kind](of_two_sets()), 'r.json')
    refused(call, path, *(['--arm','column 2','--seed','column 3'] if kind=='keys' else ['--seed','column 2'] if kind=='levels' else []), says='woof, nette')

def test_an_index_of_seeds_that_pandas_wrote_may_pair_the_runs(call):
    err = refused(call, wrote(frame().set_index('seed').to_json(orient='split'), 'r.json'), says='Pair the runs by it')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

@pytest.mark.parametrize('orient', ['split','columns'])
def test_an_index_that_only_counts_is_none(call, orient):
    df = frame().iloc[::-1]
    is_the_five(comparisons(call, wrote(df.to_json(orient=orient), 'r.json'), '--baseline', 'baseline')[0][0])
    halves = pd.concat([df.iloc[:5].reset_index(drop=True), df.iloc[5:].reset_index(drop=True)])
    is_the_five(comparisons(call, wrote(halves.to_json(orient='split'), 'r.json'), '--baseline', 'baseline')[0][0])

SMALL = [('baseline',0,.62),('baseline',1,.58),('baseline',2,.66),('simple',0,.55),('simple',1,.53),('simple',2,.57)]
def test_an_error_below_one_percent_is_read_as_its_header_says(call):
    for header,unit in (('test error (%)',[]),('err_pct',[]),('test error',['--percent'])):
        c = comparisons(call, wrote(csv_text(SMALL, ('arm','seed',header))), *unit)[0][0]
        assert c['diff']==pytest.approx(.0007)

def test_errors_around_one_percent_are_of_one_unit(call):
    path = wrote(csv_text([(a,s,round(x+.43, 2)) for a,s,x in SMALL], ('arm','seed','error')))
    err = refused(call, path, says='--percent')
    assert comparisons(call, *commands(err)[0][1:])[0][0]['diff']==pytest.approx(.0007)
    mixed = wrote(csv_text([(a,s,x if s else .38) for a,s,x in ((a,s,100*x) for a,s,x in ROWS)], ('arm','seed','error')))
    refused(call, mixed, '--percent', says='looks like a fraction')

def test_accuracies_below_one_that_are_called_percent_are_asked_for(call):
    path = wrote(csv_text(header=('arm','seed','acc (%)')))
    err = refused(call, path, says=('If they are fractions, name the column accuracy','--percent'))
    assert comparisons(call, *commands(err)[0][1:])[0][0]['diff']==pytest.approx(.00028)

NEAR = [(a,s,x) for a,xs in (('baseline',(62.0,64.4,60.2,63.2,61.8)),('simple',(62.1,64.4,60.3,63.1,61.9))) for s,x in enumerate(xs)]
def test_two_arms_that_are_nearly_equal_are_made_of_none(call):
    assert comparisons(call, wrote(csv_text(NEAR)), '--percent')[0][0]['diff']==pytest.approx(.0004)
    assert comparisons(call, wrote('seed,baseline,simple\n'+''.join(f'{s},{a[2]},{b[2]}\n' for s,(a,b) in enumerate(zip(NEAR[:5], NEAR[5:])))), '--percent', '--wide')[0][0]['n']==5

@pytest.mark.parametrize('name', ['acc','arm','seed'])
def test_a_frame_that_names_a_column_twice_is_refused(name):
    table = pd.DataFrame(ROWS, columns=['arm','seed','acc'])
    table = pd.concat([table, table[[name]]], axis=1)
    with pytest.raises(CliError, match=f'names {name} twice'): read_results(table)
    with pytest.raises(ValueError, match=f'names {name} twice'): compare_many(table)

SCORES = ['value','values_0','score','objective']
@pytest.mark.parametrize('header', SCORES)
def test_a_score_that_may_be_a_loss_says_so(call, header):
    path = wrote(csv_text([(a,s,x,i) for i,(a,s,x) in enumerate(ROWS)], header=('arm','seed',header,'number'))) # as optuna writes trials
    cs,err = comparisons(call, path)
    is_the_five(cs[0])
    assert f'accuracy = {header}' in err and f'{header} may be a loss or an error' in err
    assert 'may be a loss' not in comparisons(call, path, '--acc', header)[1]
    refused(call, wrote(csv_text([(a,s,2*x) for a,s,x in ROWS], ('arm','seed',header))), says=f'if {header} is a loss')
    refused(call, wrote(csv_text([(a,s,1.6*x) for a,s,x in ROWS], ('arm','seed',header))), says=f'{header} may be a loss')

SIZES = {o:[o, [25.5]*5+[26.1]*5] for o in ('param_count','params_m','#params (M)','n_params','Params (Millions)','FLOPs (G)')} | dict(suffix=['params', ['25.5M']*5+['26.1M']*5])
@pytest.mark.parametrize('kind', SIZES)
def test_the_size_of_a_network_needs_no_role(call, kind):
    header, values = SIZES[kind]
    is_the_five(comparisons(call, wrote(with_columns(**{header:values})))[0][0])
    refused(call, wrote(with_columns(**{header:[values[0],values[-1]]*5})), says='varies within an arm')

MEASURED = 'val/best_acc|max_val_acc|mcc|balanced_accuracy|train_time_min|inference_time_ms|latency|img/s|time/epoch (s)'.split('|')
@pytest.mark.parametrize('header', MEASURED)
def test_what_was_measured_needs_no_role_and_what_was_chosen_is_refused(call, header):
    is_the_five(comparisons(call, wrote(with_columns(**{header:[.513,.527,.531,.544,.559,.562,.573,.581,.594,.6]})))[0][0])
    refused(call, wrote(with_columns(**{header:[.1,.2]*5})), says='varies within an arm')

def test_remarks_need_no_role_where_each_is_of_one_run(call):
    for header,values in dict(pid=[*range(4711, 4721)], Notes=['restarted',*['']*9], Commit=[f'a{i}b' for i in range(10)], stopped_epoch=[31,28,33,40,29,35,30,27,36,38]).items():
        is_the_five(comparisons(call, wrote(with_columns(**{header:values})))[0][0])
    for header in ('Notes','Commit'): refused(call, wrote(with_columns(**{header:['lr1','lr2']*5})), says='varies within an arm')
    is_the_five(comparisons(call, wrote(with_columns(**{'log-model.history':['x' if i else 'y' for i in range(10)]})))[0][0])

def test_comments_below_a_header_are_none_of_its_rows(call):
    is_the_five(comparisons(call, wrote(csv_text().replace('simple,0', '# with attention\nsimple,0')+'# the end\n'))[0][0])
    assert '#1' in read_results(wrote(csv_text([('#1' if a=='baseline' else a,s,x) for a,s,x in ROWS]))).arm.tolist()

def test_a_row_of_means_may_be_called_by_its_sign(call):
    refused(call, wrote(csv_text([*ROWS[:5],('baseline','Ø',.6232),*ROWS[5:],('simple','Ø',.6512)])), says='not a run')

@pytest.mark.parametrize('what', [pd.Series(BASE), BASE, dict(a=BASE)], ids=['Series','list','dict'])
def test_what_is_neither_file_nor_frame_gets_a_sentence(what):
    with pytest.raises(CliError, match='is not a table of runs: give the name of a file, or a DataFrame'): read_results(what)

def test_the_test_after_a_training_is_no_epoch_of_it(call):
    rows = [row for a,s,x in ROWS for row in ((a,s,0,49,.3,''), (a,s,1,99,x,''), (a,s,2,100,'',x-.01))]
    path = wrote(csv_text(rows, ('arm','seed','epoch','step','val_acc','test_acc')))
    cs,err = comparisons(call, path, '--acc', 'val_acc', '--where', 'epoch=last')
    is_the_five(cs[0])
    assert 'rows of a log without an accuracy are left out' in err
    lost = wrote(csv_text([row for a,s,x in ROWS for row in ((a,s,0,.3,.2), (a,s,1,x if (a,s)!=('simple',2) else 'nan',.5))], ('arm','seed','epoch','val_acc','test_acc')))
    refused(call, lost, '--acc', 'val_acc', '--where', 'epoch=last', says='has no accuracy')

def test_a_condition_that_is_offered_stands_for_the_one_that_was_asked(call):
    of_sets = [(a,s,x,o) for o in ('woof','nette','wang') for a,s,x in ROWS]
    err = refused(call, wrote(csv_text(of_sets, ('arm','seed','acc','dataset'))), '--where', 'dataset=woof', 'dataset=nette', says='woof, nette')
    first = commands(err)[0][1:]
    assert sum(o.startswith('dataset=') for o in first)==1
    is_the_five(comparisons(call, *first)[0][0])

def test_a_switch_beside_names_of_runs_may_hold_the_arms(call):
    rows = [(f'dashing-sky-{i}',a=='simple',s,x) for i,(a,s,x) in enumerate(ROWS)]
    err = refused(call, wrote(csv_text(rows, ('Name','use_attention','seed','acc'))), says='--arm use_attention')
    assert comparisons(call, *commands(err)[0][1:])[0][0]['n']==5

NESTED = dict(lists=[dict(arm=a, seeds=[0,1,2,3,4], accs=xs) for a,xs in (('baseline',BASE),('simple',SIMPLE))],
    runs=[dict(arm=a, runs=[dict(seed=i, acc=x) for i,x in enumerate(xs)]) for a,xs in (('baseline',BASE),('simple',SIMPLE))])
@pytest.mark.parametrize('kind', NESTED)
def test_the_runs_of_an_arm_may_be_listed_under_it(call, kind): is_the_five(comparisons(call, wrote(json.dumps(NESTED[kind]), 'r.json'))[0][0])

def test_twenty_thousand_columns_are_counted_once():
    from simpleattn.columns import check_names
    import time
    before = time.process_time()
    check_names([f'c{i}' for i in range(100_000)])
    with pytest.raises(ValueError, match='names a twice'): check_names(['a','b','a'])
    assert time.process_time()-before<5, 'a list that is counted for each name takes minutes'

# ---- what a refusal prints, pasted, gives the right answer

def followed(call, *args):
    "Comparisons of the first command that a refusal prints"
    return comparisons(call, *commands(refused(call, *args))[0][1:])

ERRORS = ('top1_error_rate val_err_rate best_val_error classification_error misclassification_rate mean_error err_mean error_top1 val/error@1 top5_err 1-acc 1-val_acc inaccuracy '
    'wer eer mce n_errors wrong misclassified incorrect valErrorRate miss_rate failure_rate fpr fpr95 ter test_der per 1-auc 1-f1 Fehlerrate Fehlerquote erreur').split()
@pytest.mark.parametrize('header', ERRORS)
def test_an_error_by_another_name_is_one_minus_accuracy(call, header):
    (c,),err = followed(call, wrote(csv_text([(a,s,round(1-x, 3)) for a,s,x in ROWS], ('model','seed',header))))
    is_the_five(c)
    assert f'accuracy = 1 - {header}' in err

@pytest.mark.parametrize('header', 'terror_score error_code std_error acc_at_best_val_error acc_per_class under_50'.split())
def test_what_only_holds_such_letters_is_no_error(header):
    from simpleattn.columns import says_error
    assert not says_error(header)

@pytest.mark.parametrize('header', ['bce','test_xent','val_regret','valLoss','kl','cost','nrmse','smape','neg_log_lik','EPE','AbsRel','FID','rel_l2'])
def test_a_loss_by_another_name_is_not_offered(call, header):
    f = wrote(csv_text([(a,s,round(1-x, 3)) for a,s,x in ROWS], ('model','seed',header)))
    assert commands(refused(call, f, says='no column of accuracies'))==[]
    refused(call, f, '--acc', header, says='that is a loss')

def test_a_count_of_errors_wants_its_images(call):
    wrong = [(a,s,round(500-500*x)) for a,s,x in ROWS]
    refused(call, wrote(csv_text(wrong, ('model','seed','n_errors'))), '--acc', 'n_errors', says='wrong: of how many images')
    is_the_five(comparisons(call, wrote(csv_text([(*o,500) for o in wrong], ('model','seed','n_errors','total'))), '--acc', 'n_errors')[0][0])

WRONG = [[round(1-x, 3) for x in xs] for xs in (BASE,SIMPLE)]
WIDE_ERRORS = dict(lists='model;errors\n'+'\n'.join(f'{a};{x}' for a,x in zip(('baseline','simple'), WRONG)),
    arms=csv_text([(i,*o) for i,o in enumerate(zip(*WRONG))], ('seed','baseline_error','simple_error')),
    metrics=csv_text([(a,s,'val/error',round(1-x, 3)) for a,s,x in ROWS], ('model','seed','tag','value')))
@pytest.mark.parametrize('kind', WIDE_ERRORS)
def test_errors_in_another_shape_are_one_minus_accuracy(call, kind):
    (c,),err = comparisons(call, wrote(WIDE_ERRORS[kind]), *(['--wide'] if kind!='metrics' else []))
    assert c['diff']==pytest.approx(.028) and c['n']==5 and 'accuracy = 1 - ' in err

def of_metrics(header='metric', value='value', **metrics): # a row for each metric of a run
    return csv_text([(a,s,name,f(x)) for a,s,x in ROWS for name,f in metrics.items()], ('model','seed',header,value))

def wrong(x): return round(1-x, 3)
def a_loss(x): return round(.9-x/2, 3)

TOLD = dict(where=(of_metrics(test_error=wrong, test_loss=a_loss), '--where', 'metric=test_error'), acc=(of_metrics(test_error=wrong, test_loss=a_loss), '--acc', 'value'),
    beside_accuracy=(of_metrics(accuracy=lambda x: x, error=wrong), '--where', 'metric=error'), another_value=(of_metrics(value='score', error_rate=wrong),),
    another_name=(of_metrics('metric_name', error=wrong),), measure=(of_metrics('measure', 'result', error=wrong),),
    melted=(of_metrics('variable', err=wrong, lr=lambda x: .1), '--where', 'variable=err'),
    wide=(csv_text([(a,'test error',*map(wrong, xs)) for a,xs in (('baseline',BASE),('simple',SIMPLE))], ('model','metric',*(f'seed {i}' for i in range(5)))), '--wide'),
    corner=(csv_text([(a,*map(wrong, xs)) for a,xs in (('baseline',BASE),('simple',SIMPLE))], ('test error',*(f'seed {i}' for i in range(5)))), '--wide'),
    field=(json.dumps(dict(metric='error', runs=[dict(model=a, seed=s, value=wrong(x)) for a,s,x in ROWS])),),
    key=(json.dumps(dict(error=dict(baseline=WRONG[0], simple=WRONG[1]))), '--wide'), beside=(json.dumps(dict(metric='test_error', baseline=WRONG[0], simple=WRONG[1])), '--wide'))
@pytest.mark.parametrize('kind', TOLD)
def test_a_cell_that_says_error_makes_it_one_minus_accuracy(call, kind):
    text, *args = TOLD[kind]
    is_the_five(comparisons(call, wrote(text), *args)[0][0])

@pytest.mark.parametrize('key', 'metric Metric metric_name measure measurement objective_name'.split()+['Metric Name'])
def test_the_name_of_what_was_measured_may_stand_under_any_of_its_names(call, key):
    runs = [dict(model=a, seed=s, value=wrong(x)) for a,s,x in ROWS]
    is_the_five(comparisons(call, wrote(json.dumps({key:'error rate', 'runs':runs})))[0][0])

def test_no_words_may_be_said_as_none():
    table = pd.DataFrame([dict(arm=a, seed=s, acc=x) for a,s,x in ROWS])
    for none in (None, (), [], np.array([])): assert compare_results(table, where=none, by=none, ignore=none)['simple'].n==5

@pytest.mark.parametrize('column,by', [(' dataset',' dataset'), ('n_val_images','n_val_images'), (2020,2020), ('Dataset','dataset')])
def test_parts_are_of_a_column_as_it_is_called(column, by):
    table = pd.DataFrame([dict(arm=a, seed=s, acc=x, **{str(column):part}) for part in ('500','600') for a,s,x in ROWS]).rename(columns={str(column):column})
    assert [c.n for cs in compare_results(table, by=[by]).values() for c in cs]==[5,5]

@pytest.mark.parametrize('args', [('--where','metric=val_error'),('--where','metric=test_error')])
def test_the_command_that_chooses_one_of_two_errors_has_the_right_sign(call, args):
    f = wrote(of_metrics(test_error=wrong, val_error=wrong))
    assert commands(refused(call, f, says='may be test_error or val_error'))[0][2:]==['--where','metric=val_error']
    (c,),err = comparisons(call, f, *args)
    is_the_five(c)
    assert f'accuracy = 1 - value ({args[1][7:]})' in err

def test_a_cell_that_says_loss_is_refused(call):
    f = wrote(of_metrics(f1=lambda x: x, test_loss=a_loss))
    refused(call, f, '--where', 'metric=test_loss', says='names only losses')
    for more in (('--by','metric'),('--ignore','metric')):
        err = refused(call, f, *more, says='of some of them less is better')
        assert commands(err)[0][2:4]==['--where','metric=f1']
    is_the_five(comparisons(call, f, '--where', 'metric=f1')[0][0])
    for text,args in ((of_metrics('objective_name', 'score', val_loss=a_loss), ()), (TOLD['corner'][0].replace('test error', 'test loss'), ('--wide',)),
            (TOLD['key'][0].replace('error', 'val_loss'), ('--wide',))): refused(call, wrote(text), *args, says='loss')

@pytest.mark.parametrize('name', ['PER','wer','miss','errors','error-correction','error_feedback','label-error'])
def test_an_arm_whose_name_holds_such_a_word_is_an_arm(call, name):
    rows = [(i,*o) for i,o in enumerate(zip(BASE, SIMPLE))]
    (c,),_ = comparisons(call, wrote(csv_text(rows, ('seed','baseline',name))), '--wide')
    assert (c['arm'],c['diff'],c['n'])==(name,pytest.approx(.028),5)

@pytest.mark.parametrize('header,cell', [('tag','error-correction'),('key','cost'),('variable','errors'),('tag','errors')])
def test_a_label_that_holds_such_a_word_is_no_metric(call, header, cell):
    rows = [(a,s,cell,x) for a,s,x in ROWS]
    is_the_five(comparisons(call, wrote(csv_text(rows, ('arm','seed',header,'score'))), '--arm', 'arm', '--acc', 'score')[0][0])

def test_a_corner_that_names_a_factor_is_no_metric(call):
    for corner in ('Error correction','Loss function'):
        f = wrote(csv_text([(a,*xs) for a,xs in (('baseline',BASE),('simple',SIMPLE))], (corner,*(f'seed {i}' for i in range(5)))))
        is_the_five(comparisons(call, f, '--wide')[0][0])
    f = wrote(csv_text([(a,*xs) for a,xs in (('ce',BASE),('focal',SIMPLE))], ('Loss',*(f'seed {i}' for i in range(5)))))
    is_the_five(comparisons(call, *commands(refused(call, f, '--wide', says='If it names the arms'))[0][1:])[0][0]|dict(arm='simple', baseline='baseline'))

def test_arms_that_are_losses_trained_with_are_arms(call):
    (c,),_ = comparisons(call, wrote(csv_text([({'baseline':'l1','simple':'l2'}[a],s,x) for a,s,x in ROWS], ('','seed','value'))))
    assert (c['arm'],c['n'],c['diff'])==('l2',5,pytest.approx(.028))

def test_lists_of_two_data_sets_that_rise_are_named(call):
    f = wrote('arm,cifar,mnist\nbaseline,"[.81,.82,.83,.84]","[.9,.91,.92,.93]"\nsimple,"[.82,.84,.85,.86]","[.9,.92,.93,.94]"\n')
    refused(call, f, '--wide', says='list (cifar, mnist)')

def test_equal_arms_are_not_made_of_each_other():
    for arms in (dict(a=[.1]*3, b=[.1]*3, baseline=[.1]*3), dict(a=[.1,.2,.3], b=[.1,.2,.3], baseline=[.1,.2,.3])):
        assert len(compare_many(frame([(a,s,x) for a,xs in arms.items() for s,x in enumerate(xs)])))==2

def test_a_column_may_be_filtered_and_ignored_in_a_wide_table(call):
    rows = [(gpu,i,b,v) for gpu in ('a','b') for i,(b,v) in enumerate(zip(BASE, SIMPLE))]
    for glob in ('gpu','*u'): is_the_five(comparisons(call, wrote(csv_text(rows, ('gpu','seed','baseline','simple'))), '--wide', '--where', 'gpu=a', '--ignore', glob)[0][0])

def test_numbers_may_be_the_arms_of_a_wide_table_beside_text(call):
    rows = [(3,'x',*BASE),(5,'y',*SIMPLE),(7,'x',*[o+.01 for o in SIMPLE])]
    cs,_ = comparisons(call, wrote(csv_text(rows, ('window','host',*(f'seed{i}' for i in range(5))))), '--wide')
    assert [o['arm'] for o in cs]==['5','7']

@pytest.mark.parametrize('key', ['rep','fold','run'])
def test_accuracies_under_the_name_of_a_seed_are_an_arm(call, key):
    cs,_ = comparisons(call, wrote(json.dumps({'baseline':BASE, key:SIMPLE}), 'r.json'), '--wide')
    assert [o['arm'] for o in cs]==[key] and cs[0]['diff']==pytest.approx(.028)

@pytest.mark.parametrize('header,want', [('history_len','history_len'),('history_acc','history_acc'),('parameters_count','parameters_count'),('history.val_acc','val_acc'),('parameters/model','model')])
def test_a_folder_of_a_tool_is_taken_off_only_where_it_is_one(header, want):
    from simpleattn.columns import short_name
    assert short_name(header)==want

def test_a_version_that_pandas_made_a_float_is_the_same(call): is_the_five(comparisons(call, wrote(csv_text([(a,('2','2.0')[s%2],s,x) for a,s,x in ROWS], ('model','version','seed','acc'))))[0][0])

def test_columns_of_which_some_say_error_are_refused(call):
    rows = [(i,wrong(b),v) for i,(b,v) in enumerate(zip(BASE, SIMPLE))]
    refused(call, wrote(csv_text(rows, ('seed','baseline error','simple'))), '--wide', says='baseline error says that it holds errors, and simple does not')

EACH = dict(last=('baseline_train','baseline_val','simple_train','simple_val'), first=('train_baseline','val_baseline','train_simple','val_simple'))
@pytest.mark.parametrize('kind', EACH)
def test_two_metrics_in_a_column_for_each_arm_are_refused(call, kind):
    f = wrote(csv_text([(i,b+.2,b,v+.2,v) for i,(b,v) in enumerate(zip(BASE, SIMPLE))], ('seed',*EACH[kind])))
    err = refused(call, f, '--wide', says='there are train and val of each arm')
    (c,),_ = comparisons(call, *commands(err)[0][1:])
    assert (c['n'],c['diff'])==(5,pytest.approx(.028)) and 'val' in c['arm']

def test_two_columns_of_one_seed_are_refused(call):
    names = [f'{part}_acc_s{i}' for part in ('test','val') for i in range(5)]
    f = wrote(csv_text([(a,*[x+.1 for x in xs],*xs) for a,xs in (('baseline',BASE),('simple',SIMPLE))], ('model',*names)))
    err = refused(call, f, '--wide', says='test_acc_s0 and val_acc_s0 are both of seed 0')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

HOLES = dict(columns=(csv_text(zip(['.62','.644','','.632','.618'], ['.652','.658','.634','.672','']), ('baseline','simple')),),
    lists=('model;accs\nbaseline;"0.62, 0.644, , 0.632, 0.618"\nsimple;"0.652, 0.658, 0.634, 0.672"\n',),
    decimal_commas=('model\taccs\nbaseline\t[62,0; 64,4; ; 63,2; 61,8]\nsimple\t[65,2; 65,8; 63,4; 67,2]\n','--percent'),
    named=('baseline: 0.62, 0.644, , 0.632, 0.618\nsimple: 0.652, 0.658, 0.634, 0.672\n',))
@pytest.mark.parametrize('kind', HOLES)
def test_a_hole_is_not_closed_before_positions_are_counted(call, kind):
    text, *args = HOLES[kind]
    (c,),err = comparisons(call, wrote(text), '--wide', *args)
    assert (c['test'],c['n_baseline'],c['n_variant'])==('Welch t',4,4) and 'no seeds, because the arms lack runs in different places' in err
    assert c['diff']==pytest.approx(np.mean(SIMPLE[:4])-np.mean([*BASE[:2],*BASE[3:]]))

def test_nan_in_a_list_is_a_run_without_an_accuracy(call):
    refused(call, wrote('{"baseline":[0.62,0.64,0.61],"simple":[0.65,NaN,0.66]}', 'r.json'), '--wide', says='has no accuracy (NaN)')

def logs(counts, order): # of five runs an arm without seeds
    rows = [(a,e,round(x-.01*(max(counts)-e)/10, 4)) for a,xs in (('baseline',BASE),('simple',SIMPLE)) for x in xs for e in counts]
    return csv_text(sorted(rows, key=lambda o: (o[0],order*o[1])) if order else rows, ('model','epoch','val_acc'))

@pytest.mark.parametrize('counts,order', [((80,90,100),1),((100,90,80),-1),((1000,2000),1),((19,17,18),0)])
def test_epochs_are_no_runs_where_nothing_tells_which_are_of_one_run(call, counts, order):
    refused(call, wrote(logs(counts, order)), '--where', 'epoch=last', says='it is not clear which are of one run')

def test_runs_one_after_another_are_read_at_their_last_epochs(call): is_welch(comparisons(call, wrote(logs((80,90,100), 0)), '--where', 'epoch=last')[0][0])

def test_a_run_that_was_resumed_is_one_run(call):
    rows = [(a,s,e,x-.01*(9-e)) for a,s,x in ROWS for e in ((5,6,7,6,7,8,9) if s==1 else range(5, 10))]
    is_the_five(comparisons(call, wrote(csv_text(rows, ('model','seed','epoch','val_acc'))), '--where', 'epoch=last')[0][0])

def test_phases_of_an_epoch_are_named(call):
    rows = [(a,s,e,phase,x+.2*(phase=='train')) for a,s,x in ROWS for e in range(3) for phase in ('train','val')]
    refused(call, wrote(csv_text(rows, ('model','seed','epoch','phase','acc'))), '--where', 'epoch=last', says='phase (train, val) varies within an arm')

@pytest.mark.parametrize('key', ['seed','seeds','rng'])
def test_a_list_of_seeds_beside_lists_of_arms_holds_the_seeds(call, key):
    cs,err = comparisons(call, wrote(json.dumps({key:[3,1,2,0,7], 'baseline':BASE, 'simple':SIMPLE}), 'r.json'), '--wide')
    is_the_five(cs[0])
    assert len(cs)==1 and 'seed = seed' in err

def test_lists_by_arm_and_data_set_are_not_turned_round(call):
    f = wrote(json.dumps({a:dict(cifar10=xs, cifar100=[x-.3 for x in xs]) for a,xs in (('baseline',BASE),('simple',SIMPLE))}), 'r.json')
    err = refused(call, f, '--wide', says='list (cifar10, cifar100) varies within an arm')
    assert '--by list' in err
    parts = compare_results(f, wide=True, by=['list'])
    assert [*parts]==['list=cifar10','list=cifar100'] and all(o['simple'].diff==pytest.approx(.028) for o in parts.values())

@pytest.mark.parametrize('word', ['STABW','Standardabweichung','Stdev.','Std. dev.','Écart-type','MW','Avg.','mean of 5'])
def test_a_row_whose_seed_names_a_summary_is_none(call, word):
    rows = [(a,f'seed{s}',x) for a,s,x in ROWS]+[(a,word,.0157) for a in ('baseline','simple')]
    err = refused(call, wrote(csv_text(rows)), says='of other rows, not a run')
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])

@pytest.mark.parametrize('name,made', [('Mittelwert',np.mean),('Moyenne',np.mean),('Median',np.median),('Max.',max),('best',max),('min',min)])
def test_a_column_that_sums_up_the_arms_is_none(call, name, made):
    third = [.63,.65,.61,.64,.625]
    rows = [(i,*o,round(float(made(o)), 4)) for i,o in enumerate(zip(BASE, SIMPLE, third))]
    err = refused(call, wrote(csv_text(rows, ('seed','baseline','a','b',name))), '--wide', says=f'the numbers of {name!r} are made of those of other arms')
    assert len(comparisons(call, *commands(err)[0][1:])[0])==2

def test_an_arm_called_max_is_one_where_it_is_not_the_greatest(call):
    rows = [(i,b,v,v+.01*(-1)**i) for i,(b,v) in enumerate(zip(BASE, SIMPLE))]
    assert len(comparisons(call, wrote(csv_text(rows, ('seed','baseline','mean-pool','max'))), '--wide')[0])==2

@pytest.mark.parametrize('more', [dict(std=[.011,.012,.013,.014]), dict(std=[.01,.01,.01,.02], n_seeds=[5]*4)])
def test_means_of_several_data_sets_are_no_runs(call, more):
    rows = [(a,d,x,*o) for (a,d,x),*o in zip([(a,d,x) for d in ('woof','nette') for a,x in (('baseline',.62),('simple',.65))], *more.values())]
    for args in ((),('--ignore','dataset')): refused(call, wrote(csv_text(rows, ('model','dataset','acc',*more))), *args, says='a mean and an sd for each arm, not runs')

@pytest.mark.parametrize('header', ['torch','data_version','commit'])
@pytest.mark.parametrize('values', [('2.1','2.10'),('1234e567','9876e543')])
def test_versions_are_not_numbers(call, header, values):
    rows = [(a,values[a=='simple'],s,x) for a,s,x in ROWS]
    f = wrote(csv_text(rows, ('model',header,'seed','acc')))
    refused(call, f, says=f'{header} ({values[0]}, {values[1]}) differs between arms')
    kept = read_results(f, where=[f'{header}={values[0]}'], lone=True)
    assert len(kept)==5 and {*kept[header]}=={values[0]}

def test_numbers_of_settings_are_one_however_they_are_written(call):
    is_the_five(comparisons(call, wrote(csv_text([(a,('0.1','0.10')[s%2],s,x) for a,s,x in ROWS], ('model','lr','seed','acc'))))[0][0])

def test_a_run_that_says_diverged_has(call):
    rows = [(a,s,x,'True' if (a,s)==('simple',2) else 'False','finished') for a,s,x in ROWS]
    for n in (4,5):
        (c,),_ = comparisons(call, wrote(csv_text([o[:n] for o in rows], ('model','seed','acc','diverged','status')[:n])))
        assert (c['n'],c['diverged_variant'])==(4,1) and 'when it trains' in c['verdict_words']

@pytest.mark.parametrize('row', ['$62.37 \\pm 1.58$','\\textbf{62.4}','62.4 (1.6)'])
def test_a_table_of_latex_is_called_so(call, row):
    refused(call, wrote(f'Method & Acc \\\\ \\hline\nbaseline & {row} \\\\\nsimple & {row} \\\\\n'), says='looks like a table of LaTeX')

def test_a_quotation_mark_that_is_not_closed_is_named(call):
    rows = csv_text().splitlines()
    rows[8] = rows[8].replace('simple', '"simple', 1)
    refused(call, wrote('\n'.join(rows)+'\n'), says='a quotation mark is not closed in the rows that end at line')

def test_a_header_that_numpy_marked_is_one(call):
    is_the_five(comparisons(call, wrote('# seed baseline simple\n'+'\n'.join(f'{i} {b:.4e} {v:.4e}' for i,(b,v) in enumerate(zip(BASE, SIMPLE)))+'\n'), '--wide')[0][0])
    is_the_five(comparisons(call, wrote('# made by hand\n'+csv_text()))[0][0])

@pytest.mark.parametrize('mark', ["'",'\u2019',' ','.',','])
def test_thousands_are_read_as_they_are_marked(call, mark):
    def marked(n): return f'{n:,}'.replace(',', mark)
    rows = [(a,s,marked(round(10000*x)),marked(10000)) for a,s,x in ROWS]
    is_the_five(comparisons(call, wrote(csv_text(rows, ('model','seed','correct','n_images'), ';')))[0][0])

def test_times_are_not_offered_as_accuracies(call):
    rows = [(a,round(.5+x*x, 3),round(x/50, 4),x) for a,s,x in ROWS]
    err = refused(call, wrote(csv_text(rows, ('model','fit_time','score_time','test_score'))), says='the accuracy may be test_score. If it is:')
    is_welch(comparisons(call, *commands(err)[0][1:])[0][0])

def test_the_arms_of_a_search_are_its_text_not_its_times(call):
    names = [f'split{i}_test_score' for i in range(5)]
    rows = [(t,a,*xs) for t,a,xs in ((.5,'baseline',BASE),(1.5,'simple',SIMPLE))]
    is_the_five(comparisons(call, wrote(csv_text(rows, ('mean_fit_time','param_clf',*names))), '--wide', '--ignore', 'mean_fit_time')[0][0])

@pytest.mark.parametrize('names', ['parameters/model parameters/seed metrics/val/acc','hyperparams/Args/model hyperparams/Args/seed last_metrics/val/acc'])
def test_the_folders_of_other_tools_are_taken_off(call, names): is_the_five(comparisons(call, wrote(csv_text(header=names.split())))[0][0])

def test_losses_in_another_shape_are_refused(call):
    refused(call, wrote(WIDE_ERRORS['metrics'].replace('val/error', 'val/loss')), says='names only losses')
    refused(call, wrote(WIDE_ERRORS['lists'].replace('errors', 'val_losses')), '--wide', says='that is a loss')

def summary(call, text, *args):
    "The comparison of the command that a refusal of a table of means prints"
    err = refused(call, wrote(text), *args, says='not runs')
    return comparisons(call, *commands(err.replace(',N', ',5'))[0][1:])[0][0]

OF_MEANS = dict(order='model,mean,std,n\nsimple,.651,.015,5\nbaseline,.623,.016,5\n', three='arm,mean,std,n\nsimple,.651,.015,5\nself,.63,.01,5\nbaseline,.623,.016,5\n',
    agg='model,acc_mean,acc_std,acc_count\nbaseline,.623,.016,5\nsimple,.651,.015,5\n', unnamed=',mean,std,count\nsimple,.651,.015,5.0\nbaseline,.623,.016,5.0\n',
    describe='model,count,mean,std,min,25%,50%,75%,max\nbaseline,5.0,.623,.016,.602,.618,.62,.632,.644\nsimple,5.0,.651,.015,.634,.64,.652,.658,.672\n',
    percent='model,count,mean,std,min,25%,50%,75%,max\nbaseline,5,62.3,1.6,60.2,61.8,62,63.2,64.4\nsimple,5,65.1,1.5,63.4,64,65.2,65.8,67.2\n',
    turned=',baseline,simple\ncount,5.0,5.0\nmean,.623,.651\nstd,.016,.015\nmin,.602,.634\n25%,.618,.64\n50%,.62,.652\n75%,.632,.658\nmax,.644,.672\n')
@pytest.mark.parametrize('kind,args', [*((o, ()) for o in OF_MEANS), ('turned', ('--wide',))])
def test_a_table_of_means_puts_the_baseline_first(call, kind, args):
    assert ',N' not in refused(call, wrote(OF_MEANS[kind]), *args)
    c = summary(call, OF_MEANS[kind], *args)
    assert (c['mean_baseline'],c['mean_variant'],c['n_baseline'],c['n_variant'])==(.623,.651,5,5)

MEANS_APART = dict(sets='dataset,model,mean,std,n\nnette,baseline,.91,.005,5\nwoof,baseline,.762,.005,5\nnette,simple,.92,.004,5\nwoof,simple,.782,.004,5\n',
    one_each='dataset,model,mean,std,n\nnette,baseline,.91,.005,5\nwoof,simple,.782,.004,5\n', size='model,size,mean,std,n\nbaseline,128,.91,.005,5\nsimple,192,.782,.004,5\n',
    twice='model,mean,std,n\nbaseline,.91,.005,5\nbaseline,.762,.005,5\nsimple,.92,.004,5\n')
@pytest.mark.parametrize('kind', MEANS_APART)
def test_means_that_more_than_the_arm_tells_apart_get_no_command(call, kind):
    assert commands(refused(call, wrote(MEANS_APART[kind]), says=('not runs','differ in the arm alone')))==[]

def test_a_run_with_an_sd_of_its_own_is_no_mean_of_runs(call):
    f = wrote(csv_text([(a,s,f'{x} ± 0.01') for a,s,x in ROWS]))
    assert commands(refused(call, f, says='If each row is a run, write its accuracy alone'))==[]

STATISTICS = dict(stat='stat,baseline,simple\nmean,.623,.651\nmedian,.62,.652\nmin,.602,.634\nmax,.644,.672\n', two='stat,baseline,simple\nmin,.602,.634\nmax,.644,.672\n',
    long='model,stat,acc\nbaseline,mean,.623\nbaseline,std,.016\nsimple,mean,.651\nsimple,std,.015\n')
@pytest.mark.parametrize('kind', STATISTICS)
@pytest.mark.parametrize('args', [(),('--ignore','stat')])
def test_a_row_for_each_statistic_holds_no_runs(call, kind, args):
    if kind!='long': args = (*args, '--wide')
    assert commands(refused(call, wrote(STATISTICS[kind]), *args, says='stat names statistics of runs'))==[]

def test_arms_may_be_called_mean_and_max(call):
    rows = [('mean' if a=='baseline' else 'max',s,x) for a,s,x in ROWS]
    (c,),_ = comparisons(call, wrote(csv_text(rows, ('pooling','seed','acc'))), '--arm', 'pooling')
    assert c['diff']==pytest.approx(.028) and c['n']==5
    wide = 'model,seed0,seed1,seed2,seed3,seed4\n'+'\n'.join(f"{a},{','.join(map(str, x))}" for a,x in (('mean',BASE),('max',SIMPLE)))
    assert comparisons(call, wrote(wide), '--wide')[0][0]['diff']==pytest.approx(.028)

@pytest.mark.parametrize('header', ['10%,25%,50%,75%,100%','5 %,10 %,20 %,50 %,99 %'])
def test_shares_are_no_seeds(call, header):
    f = wrote(f'model,{header}\n'+'\n'.join(f"{a},{','.join(map(str, x))}" for a,x in (('baseline',BASE),('simple',SIMPLE))))
    assert commands(refused(call, f))==[] and commands(refused(call, f, '--wide', says='not seeds'))==[]

@pytest.mark.parametrize('header,says', [('5,20,80,200,300','If these are seeds, not epochs, sizes or shares'), ('0,1,2,3,4','read. Read it with'), ('1,2,3,4,5','read. Read it with')])
def test_bare_numbers_are_seeds_if_so(call, header, says):
    f = wrote(f'model,{header}\n'+'\n'.join(f"{a},{','.join(map(str, x))}" for a,x in (('baseline',BASE),('simple',SIMPLE))))
    is_the_five(comparisons(call, *commands(refused(call, f, says=says))[0][1:])[0][0])

ROWS_AND_MEANS = [*ROWS, ('baseline','',.623), ('simple','',.651)]
def test_means_without_a_seed_leave_the_runs_that_have_one(call):
    is_the_five(followed(call, wrote(csv_text(ROWS_AND_MEANS)))[0][0])
    wide = csv_text([*((i,*o) for i,o in enumerate(zip(BASE, SIMPLE))), ('',.623,.651)], ('seed','baseline','simple'))
    is_the_five(followed(call, wrote(wide), '--wide')[0][0])
    runs = pd.read_csv(io.StringIO(csv_text(ROWS_AND_MEANS)))
    with pytest.raises(ValueError, match=re.escape("runs.dropna(subset='seed')")): compare_many(runs)
    assert compare_many(runs.dropna(subset='seed'))['simple'].n==5

def test_seeds_above_2_to_the_53_are_themselves(call):
    for first in (2**53+1, 12345678901234567890):
        is_the_five(comparisons(call, wrote(csv_text([(a,first+s,x) for a,s,x in ROWS])))[0][0])

def test_a_seed_above_2_to_the_53_is_kept_by_itself(call):
    first = 2**53
    f = wrote(csv_text([(a,first+s,x) for a,s,x in ROWS]))
    (c,),_ = comparisons(call, f, '--where', *(f'seed={first+s}' for s in (0, 1, 3)))
    assert c['n']==3

def test_a_row_that_a_column_calls_an_sd_is_no_run_whatever_is_ignored(call):
    rows = [('run',*o) for o in ROWS]
    spreads = dict(sd=lambda x: round(np.std(x, ddof=1), 3), std=lambda x: np.std(x), Var=lambda x: np.var(x, ddof=1), sem=lambda x: np.std(x, ddof=1)/len(x)**.5)
    for kind,spread in spreads.items():
        f = wrote(csv_text([*rows, *((kind,a,5,float(spread(x))) for a,x in (('baseline',BASE),('simple',SIMPLE)))], ('stat','arm','seed','acc')))
        for more in ([], ['--ignore','stat']): is_the_five(followed(call, f, *more)[0][0])

def test_a_setting_called_sd_is_none_of_other_rows(call):
    "Stochastic depth, whether it gains, loses or fails"
    for less in (0, .05, .5):
        f = wrote(csv_text([('sd' if a=='simple' else 'none',a,s,round(x-less*(a=='simple'), 3)) for a,s,x in ROWS], ('reg','arm','seed','acc')))
        (c,),_ = comparisons(call, f, '--ignore', 'reg')
        assert c['n']==5 and c['diff']==pytest.approx(.028-less)

def test_what_would_leave_an_arm_without_runs_is_not_offered(call):
    f = wrote(csv_text([(a,f'seed{s}' if a=='baseline' else s,x) for a,s,x in ROWS]))
    assert commands(refused(call, f, says="has the seed 'seed0', and others have whole numbers"))==[]

@pytest.mark.parametrize('off,on', [('false','true'),('False','True'),('none','simple'),('off','on')])
def test_what_is_absent_is_the_baseline(call, off, on):
    rows = [(on if a=='simple' else off,s,x) for a,s,x in reversed(ROWS)]
    (c,),err = comparisons(call, wrote(csv_text(rows)))
    assert (c['baseline'],c['arm'])==(off,on) and c['diff']==pytest.approx(.028) and err==f'r.csv: baseline = {off}.\n'
    c = summary(call, f'model,mean,std,n\n{on},.651,.015,5\n{off},.623,.016,5\n')
    assert c['diff']==pytest.approx(.028)

@pytest.mark.parametrize('sign', ['_','-','-seed','_s'])
def test_names_that_hold_arm_and_seed_are_told_from_arms_of_one_run(call, sign):
    rows = [(f'{a}{sign}{s}','finished',s,x) for a,s,x in ROWS]
    refused(call, wrote(csv_text(rows, ('Name','State','seed','val/acc'))), says=('hold an arm and a seed (baseline, 0)','columns arm and seed'))

def test_a_total_may_have_marks_of_thousands(call):
    rows = [(a,s,round(1500*x),'"1,500"') for a,s,x in ROWS]
    is_the_five(comparisons(call, wrote(csv_text(rows, ('model','seed','correct','total'))))[0][0])

def test_a_list_of_runs_names_a_store_that_is_not_there(call):
    code,out,err = call('runs', '--root', 'nowhere')
    assert (code,out,err)==(2,'','simpleattn: There is no store at nowhere.\n')

OF_MEAN_ERRORS = dict(column='model,error,std,n\nbaseline,.377,.016,5\nsimple,.349,.015,5\n', cell='model,error,n\nbaseline,37.7 ± 1.6,5\nsimple,34.9 ± 1.5,5\n')
@pytest.mark.parametrize('kind', OF_MEAN_ERRORS)
def test_a_mean_of_errors_is_one_minus_that_of_accuracies(call, kind):
    assert '1 - error as fractions' in refused(call, wrote(OF_MEAN_ERRORS[kind]))
    c = summary(call, OF_MEAN_ERRORS[kind])
    assert (c['mean_baseline'],c['mean_variant'])==(.623,.651)

@pytest.mark.parametrize('header,is_read', [('25,50,75',False),('42,1337,2024',True)])
def test_bare_quantiles_beside_a_mean_are_no_seeds(call, header, is_read):
    text = f'model,mean,std,{header},n\nbaseline,.622,.021,.62,.644,.602,5\nsimple,.648,.012,.652,.658,.634,5\n'
    if is_read: refused(call, wrote(text), says='If these are seeds')
    else: assert summary(call, text)['mean_variant']==.648

# ---- rows of single images, and what cannot be told apart

def lines(head, rows): return '\n'.join([head, *(','.join(map(str, o)) for o in rows)])+'\n'

@pytest.mark.parametrize('head', ['model,image_id,correct','model,file_path,acc','model,batch,accuracy'])
def test_rows_of_single_images_are_no_runs(tmp_path, head):
    rng = np.random.default_rng(0)
    rows = [(m, f'{m}/{i}.jpg' if 'path' in head else i, int(rng.random()<p)) for m,p in (('baseline',.6),('simple',.72)) for i in range(40)]
    (tmp_path/'p.csv').write_text(lines(head, rows))
    with pytest.raises(CliError, match='single images that were right or wrong') as e: compare_results(tmp_path/'p.csv')
    assert '--seed' not in str(e.value)

def test_runs_that_solve_their_task_or_do_not_are_runs(tmp_path):
    rows = [(m,i,int(i%k==0)) for m,k in (('baseline',3),('simple',2)) for i in range(12)]
    (tmp_path/'g.csv').write_text(lines('model,seed,acc', rows))
    assert compare_results(tmp_path/'g.csv')['simple'].n==12
    (tmp_path/'p.csv').write_text(lines('model,trial_no,acc', [(m,i,f'{o}%') for m,i,o in rows]))
    assert compare_results(tmp_path/'p.csv', seed='trial_no')['simple'].mean_variant<.01

def test_arms_that_look_alike_on_screen_are_refused(tmp_path):
    for one,other in (('caf\u00e9','cafe\u0301'), ('simple','simple\u200b'), ('simple','sim\u00adple')):
        rows = [('baseline',i,x) for i,x in enumerate((.620,.644,.602,.632,.618))]+[(one if i%2 else other,i,x) for i,x in enumerate((.652,.658,.634,.672,.640))]
        (tmp_path/'n.csv').write_text(lines('variant,seed,accuracy', rows))
        with pytest.raises(CliError, match='signs that are not seen'): compare_results(tmp_path/'n.csv')
        with pytest.raises(ValueError, match='signs that are not seen'): compare_many(pd.DataFrame(rows, columns=['variant','seed','accuracy']))

@pytest.mark.parametrize('text', ['{"baseline":[0.62,0.644,0.602],"simple":[0.652,0.658,0.634],"simple":[0.1,0.2,0.3]}',
    '{"arm":"baseline","seed":0,"accuracy":0.6,"accuracy":0.7}\n{"arm":"simple","seed":0,"accuracy":0.6}'], ids=['object','lines'])
def test_a_key_that_stands_twice_is_refused(tmp_path, text):
    (tmp_path/'d.json').write_text(text)
    with pytest.raises(CliError, match='twice, and only one of the two would be read'): compare_results(tmp_path/'d.json', wide=True)

def test_folds_are_no_seeds_and_the_page_says_so(tmp_path):
    rows = [(m,i,round(.6+.02*(m!='baseline')+.01*i+.001*len(m)*(i%2),4)) for m in ('baseline','simple') for i in range(5)]
    (tmp_path/'f.csv').write_text(lines('model,fold,acc', rows))
    said = read_results(tmp_path/'f.csv', seed='fold').attrs['said']
    assert any('training images overlap' in o for o in said)
    (tmp_path/'f.csv').write_text(lines('model,folder,acc', [(m,f'run{i}',x) for m,i,x in rows]))
    assert not any('overlap' in o for o in read_results(tmp_path/'f.csv', seed='folder').attrs['said'])

def test_what_a_refusal_offers_in_python_can_be_pasted():
    table = pd.DataFrame([(a,s,d,100*x) for a,xs in (('none',[.62,.64,.60]),('simple',[.65,.66,.63])) for s,x in enumerate(xs) for d in ('woof','nette')], columns=['Block','seed','dataset','acc'])
    with pytest.raises(CliError) as e: read_results(table, arm='Block', percent=True)
    offered = re.search(r'compare_results\(.*?\]\)', str(e.value))[0]
    answers = eval(offered, dict(compare_results=compare_results, table=table))
    assert [*answers]==['dataset=woof','dataset=nette'] and all(len(o)==1 for o in answers.values())
    assert compare_results(table, arm='Block', percent=True, where='dataset=woof')['simple'].n==3

def test_decimal_commas_between_commas_are_named(tmp_path):
    (tmp_path/'c.csv').write_text(lines('variant,seed,accuracy', [(a,i,f'0,{x}') for a,xs in (('baseline',(62,64,60)),('simple',(65,66,63))) for i,x in enumerate(xs)]))
    with pytest.raises(CliError, match='If commas are decimal, put semicolons between the cells'): compare_results(tmp_path/'c.csv')

def test_an_index_without_a_name_may_hold_the_arms(tmp_path):
    (tmp_path/'i.csv').write_text(lines('seed,acc', [(a,i,x) for a,xs in (('base',(.5013,.5213,.5111)),('simple',(.5513,.5613,.5511))) for i,x in enumerate(xs)]))
    assert compare_results(tmp_path/'i.csv')['simple'].n==3

def test_the_rule_of_a_console_is_no_row(tmp_path):
    rows = ['variant  | seed | accuracy','---------+------+----------',*(f'{a} | {i} | {x}' for a,xs in (('baseline',(.62,.64,.60)),('simple',(.65,.66,.63))) for i,x in enumerate(xs))]
    (tmp_path/'c.txt').write_text('\n'.join(rows)+'\n')
    assert compare_results(tmp_path/'c.txt')['simple'].n==3

@pytest.mark.parametrize('arms', [('1','0'), ('with attention','without attention'), ('attn','no_attn'), ('attn','w/o attn'),
    ('attn','base'), ('se','Vanilla'), ('resnet_cbam','resnet_none'), ('r50-se','r50-baseline')], ids=str)
def test_the_arm_that_lacks_something_is_the_baseline(arms): assert baseline_of(arms)==arms[1]

@pytest.mark.parametrize('arms', [('full','no_softmax','no_gamma'), ('resnet','no_attn','no_conv'), ('r18-se','r18-none','r50-none'), ('small','base','large')], ids=str)
def test_of_several_that_lack_something_none_is_the_baseline(arms): assert baseline_of(arms)==arms[0]

# ---- read once more

def a_log(**epochs):
    "A log of the five pairs for each data set, which has its own number of epochs"
    rows = [(d,a,s,e,round(x-.01*(n-1-e), 4)) for d,n in epochs.items() for a,s,x in ROWS for e in range(n)]
    return csv_text(rows, ('dataset','model','seed','epoch','acc'))

@pytest.mark.parametrize('other_seeds', [False,True])
@pytest.mark.parametrize('woof', [5,3])
def test_the_last_row_of_each_data_set_is_kept(call, woof, other_seeds):
    text = a_log(woof=woof, nette=8)
    f = wrote(re.sub(r'^(nette,\w+,)', r'\g<1>1', text, flags=re.M) if other_seeds else text)
    err = refused(call, f, '--where', 'epoch=last', says='dataset (woof, nette) varies within an arm')
    assert ['compare',f,'--where','epoch=last','--by','dataset'] in commands(err)
    code,out,err = call('compare', f, '--where', 'epoch=last', '--by', 'dataset', '--fmt', 'json')
    answers = json.loads(out)
    assert [*answers]==['dataset=woof','dataset=nette'] and 'runs end at' not in err and 'not used' not in err
    for o in answers.values(): is_the_five(o['comparisons'][0])

def test_a_rate_that_falls_within_a_run_is_no_setting_of_it(call):
    rows = [(a,s,e,.1 if e<2 else .01,round(x-.01*(3-e), 3)) for a,s,x in ROWS for e in range(4)]
    is_the_five(comparisons(call, wrote(csv_text(rows, ('model','seed','epoch','lr','acc'))), '--where', 'epoch=last')[0][0])

def test_a_run_that_went_on_elsewhere_is_one(call):
    rows = [(a,s,e,host,round(x-.01*(3-e), 3)) for a,s,x in ROWS for host,epochs in (('n1',(0,1,2)),('n2',(1,2,3))) for e in epochs]
    is_the_five(comparisons(call, wrote(csv_text(rows, ('model','seed','epoch','host','acc'))), '--where', 'epoch=last')[0][0])

def test_two_runs_of_one_seed_in_a_log_are_two(call):
    rows = [(a,s,run,e,round(x-.01*(n-e), 3)) for a,s,x in ROWS for run,n in ((f'{a}{s}a',3),(f'{a}{s}b',5)) for e in range(n)]
    refused(call, wrote(csv_text(rows, ('model','seed','run_id','epoch','acc'))), '--where', 'epoch=last', says="seed 0 of 'baseline' appears twice")

def test_a_failed_run_of_a_log_is_one(call):
    rows = [(d,a,s,e,round(x-.01*(3-e), 3),'failed' if (a,s)==('simple',2) else 'ok') for d in ('woof','nette') for a,s,x in ROWS for e in range(4)]
    f = wrote(csv_text(rows, ('dataset','model','seed','epoch','acc','status')))
    assert '2 of 20 runs failed' in call('compare', f, '--where', 'epoch=last', '--by', 'dataset')[2]
    (c,),err = comparisons(call, f, '--where', 'epoch=last', 'dataset=woof')
    assert (c['failed_variant'],c['n'])==(1,4) and '1 of 10 runs failed' in err

def test_an_arm_may_be_called_like_a_loss(call):
    f = wrote(f'baseline;mae\n"{BASE}";"{SIMPLE}"\n')
    assert comparisons(call, f, '--wide')[0][0]['test']=='paired t'

def test_a_run_that_is_short_among_those_of_its_data_set_is_not_finished(call):
    text = a_log(woof=3, nette=8)
    f = wrote(''.join(o for o in text.splitlines(True) if not re.match('nette,simple,2,[2-7],', o)))
    refused(call, f, '--where', 'epoch=last', '--by', 'dataset', says=('(simple, seed 2)','go on to epoch 7','Remove its rows'))

def test_the_last_row_is_by_a_column_that_counts(call):
    f = wrote(csv_text([(a,s,e,round(x-.01*abs(e-1), 3)) for a,s,x in ROWS for e in range(3)], ('model','seed','epoch','val_acc')))
    for column in ('val_acc','seed','model'): refused(call, f, '--where', f'{column}=last', says=(f'{column}=last','does not count','--where epoch=last'))
    f = wrote(csv_text([(*o,k) for o in ROWS for k in ('best','last')], ('model','seed','acc','checkpoint')))
    is_the_five(comparisons(call, f, '--where', 'checkpoint=last')[0][0])

def test_parts_whose_values_agree_in_six_digits_are_two(call):
    f = wrote(csv_text([(*o,d) for d in (20240101,20240102) for o in ROWS], ('variant','seed','accuracy','day')))
    answers = json.loads(call('compare', f, '--by', 'day', '--fmt', 'json')[1])
    assert [*answers]==['day=20240101','day=20240102']

def test_a_number_that_stands_again_is_no_header(call):
    for text in ('0.934\n0.931\n0.934\n0.936\n', '0.934\n'*2+'0.931\n0.936\n'):
        assert json.loads(call('compare', wrote(text), '--against', '.93', '--fmt', 'json')[1])['against'][0]['n']==4

ZIG,ZAG = [.5,.7,.6,.4,.65,.55],[.6,.5,.7,.65,.45,.6] # curves that do not rise
def keras(x): return dict(accuracy=x, val_accuracy=[round(o-.01, 3) for o in x], loss=[1-o for o in x], val_loss=[1.1-o for o in x])
OF_ONE_RUN = dict(seed=[dict(model=a, seed=0, val_acc=x) for a,x in (('baseline',ZIG),('simple',ZAG))],
    name=[dict(model=a, val_acc_per_epoch=x) for a,x in (('baseline',ZIG),('simple',ZAG))], loss=dict(baseline=keras(ZIG), simple=keras(ZAG)))

@pytest.mark.parametrize('kind', OF_ONE_RUN)
def test_lists_that_say_that_they_are_epochs_are_no_seeds(call, kind):
    f,acc = wrote(json.dumps(OF_ONE_RUN[kind]), 'e.json'), ['--acc','val_accuracy'] if kind=='loss' else []
    err = refused(call, f, '--wide', *acc, says=('each arm has one run','--ignore epoch'))
    (c,),_ = comparisons(call, *commands(err)[0][1:])
    assert (c['n_baseline'],c['n_variant'],c['test'])==(6,6,'Welch t')

def test_a_history_of_keras_is_one_run(call):
    f = wrote(json.dumps(keras(ZIG)), 'history.json')
    refused(call, f, '--acc', 'val_accuracy', '--against', '.5', says=('epoch (0, 1, 2, 3, ...)','one run'))
    refused(call, f, '--acc', 'val_accuracy', says=('log of one run','--where epoch=last'))

def test_a_value_of_tensorboard_may_be_a_loss(call):
    f = wrote(csv_text([(a,1.7e9+i,100,x) for i,(a,s,x) in enumerate(ROWS)], ('model','Wall time','Step','Value')))
    assert 'Value may be a loss' in comparisons(call, f)[1] and 'may be a loss' not in comparisons(call, f, '--acc', 'Value')[1]

FOLDS = dict(columns=csv_text([('baseline',*BASE),('simple',*SIMPLE)], ('model',*(f'fold_{i}' for i in range(5)))), rows=csv_text([*zip(range(5),BASE,SIMPLE)], ('fold','baseline','simple')),
    sklearn=csv_text([('baseline',*BASE),('simple',*SIMPLE)], ('model',*(f'split{i}_test_score' for i in range(5)))))
@pytest.mark.parametrize('kind', FOLDS)
def test_folds_of_a_wide_table_are_no_seeds_either(call, kind):
    (c,),err = comparisons(call, wrote(FOLDS[kind]), '--wide')
    is_the_five(c)
    assert 'training images overlap' in err
    assert 'overlap' not in comparisons(call, wrote(FOLDS[kind].replace('fold','seed').replace('split','seed')), '--wide')[1]

def test_nan_in_a_wide_table_is_a_run_and_an_empty_cell_is_none(call):
    text = csv_text([*zip(range(5),BASE,SIMPLE)], ('seed','baseline','simple'))
    refused(call, wrote(text.replace('0.634','nan')), '--wide', says=('(simple, seed 2)','Leave its place empty'))
    assert comparisons(call, wrote(text.replace('0.634','')), '--wide')[0][0]['n']==4

def test_a_part_that_cannot_be_compared_says_why_beside_csv_too(call):
    f = wrote(csv_text([*((*o,'woof') for o in ROWS),*((*o,'nette') for o in ROWS[:6])], ('variant','seed','accuracy','dataset')))
    code,out,err = call('compare', f, '--by', 'dataset', '--fmt', 'csv')
    assert code==0 and pd.read_csv(io.StringIO(out)).part.unique().tolist()==['dataset=woof']
    assert "dataset=nette: 'simple' has 1 finished run" in err

def test_the_words_of_clearml_are_known_and_a_failed_run_is_not_offered_as_one(call):
    (c,),err = comparisons(call, wrote(with_columns(status=['Published']*7+['Closed','Failed','In progress'])))
    assert (c['n'],c['failed_variant'])==(3,1) and '1 of 10 runs is not finished' in err
    err = refused(call, wrote(with_columns(status=['odd']*9+['Failed'])), says=("'odd'",'Write finished or failed.'))
    assert '--ignore' not in err
    refused(call, wrote(with_columns(status=['odd']*9+['Completed'])), says='--ignore status')

def test_terminated_may_say_finished(call):
    err = refused(call, wrote(with_columns(status='TERMINATED')), says=('no run has finished','as in Ray Tune'))
    is_the_five(comparisons(call, *commands(err)[0][1:])[0][0])
    assert 'Ray Tune' not in refused(call, wrote(with_columns(status='killed')))

def test_the_names_of_comet_are_two_accuracies(call):
    f = wrote(with_columns(validate_accuracy=[round(o[2]-.1, 3) for o in ROWS]))
    refused(call, f, says='--acc validate_accuracy')

def test_samples_that_may_be_of_the_training_are_no_validation_images(tmp_path):
    for header,n in dict(num_samples=None, n_examples=None, num_test_samples=500, n_images=500).items():
        runs = read_results(wrote(with_columns(**{header:500})))
        assert (runs.n_images.iloc[0] if 'n_images' in runs else None)==n, header

def test_errors_below_one_percent_say_how_they_were_read(call):
    f = wrote(csv_text([(a,s,round(1-x, 3)) for a,s,x in ROWS], ('variant','seed','test_error')))
    assert 'read as fractions: if they are percent, --percent' in comparisons(call, f)[1]
    (c,),err = comparisons(call, f, '--percent')
    assert c['diff']==pytest.approx(.00028) and 'read as fractions' not in err

def test_what_only_python_reads_as_a_number_is_none(call):
    refused(call, wrote(csv_text([(a,s,f'0.6_{i}') for i,(a,s,x) in enumerate(ROWS)])), says='not a number')
    is_the_five(comparisons(call, wrote(with_columns(commit=[f'1_{i}' for i in range(10)])))[0][0])

def test_ids_and_indexes_are_no_accuracies(call):
    f = wrote('\n'.join(json.dumps(dict(_id=i, result=x, status='COMPLETED', config=dict(seed=s, model=a))) for i,(a,s,x) in enumerate(ROWS, 1)), 's.jsonl') # as Sacred writes it
    is_the_five(comparisons(call, *commands(refused(call, f, says='--acc result'))[0][1:])[0][0])

TRAINER = dict(best_metric=.7, log_history=[o for e in (1.,2.,3.) for o in (dict(epoch=e, loss=1/e, step=10*e), dict(epoch=e, eval_accuracy=.5+.1*e, eval_loss=1/e, step=10*e))])
LIGHTNING = csv_text([o for e in range(3) for o in ((e,10*e+9,1/(e+1),''),(e,10*e+9,'',.5+.1*e))], ('epoch','step','train_loss','val_acc'))
@pytest.mark.parametrize('text', [json.dumps(TRAINER),LIGHTNING], ids=['transformers','lightning'])
def test_the_log_of_one_run_is_known_though_training_has_its_own_rows(call, text): refused(call, wrote(text), says=('log of one run','--where epoch=last'))

@pytest.mark.parametrize('arms', [('pool','avg_pool'),('teacher','mean teacher')], ids=str)
def test_an_arm_of_as_many_runs_sums_nothing_up(call, arms):
    names = dict(zip(('baseline','simple'), arms))
    (c,),_ = comparisons(call, wrote(csv_text([(names[a],s,x) for a,s,x in ROWS])))
    assert (c['arm'],c['n'],c['diff'])==(arms[1],5,pytest.approx(.028))

def test_names_that_hold_seeds_are_named_in_a_log_too(call):
    f = wrote(csv_text([(f'{a}_{s}',e,round(x-.01*(2-e), 3)) for a,s,x in ROWS for e in range(3)], ('run','Step','Value')))
    refused(call, f, says=('(baseline, 0)','columns arm and seed'))

def test_counts_in_a_wide_table_are_of_its_images(call):
    for arms in (True,False):
        rows,header = ([*zip(range(5), BASE, SIMPLE)],('seed','baseline','simple')) if arms else ([('baseline',*BASE),('simple',*SIMPLE)],('model',*(f'seed{i}' for i in range(5))))
        f = wrote(csv_text([(o[0],*(round(500*x) for x in o[1:]),500) for o in rows], (*header,'n_images')))
        is_the_five(comparisons(call, f, '--wide')[0][0])
    assert 'call the column' not in refused(call, wrote(csv_text([(o[0],*(round(100*x) for x in o[1:]),100) for o in rows], (*header,'n_images'))), '--wide', says='divide by their number')

def test_headers_may_be_numbers():
    table = pd.DataFrame(ROWS)
    assert compare_results(table, arm=0, seed=1, acc=2)['simple'].n==5

@pytest.mark.parametrize('found', [[dict(arm=a, seed=s, acc=x, tags=[dict(key=[1], value=2)]) for a,s,x in ROWS], dict(columns=['arm','seed','acc'], data=ROWS, index=5)], ids=['key','index'])
def test_json_with_odd_values_is_read(call, found): is_the_five(comparisons(call, wrote(json.dumps(found), 'o.json'))[0][0])

def test_a_number_of_too_many_digits_is_no_whole_one(call):
    for digits in ('9'*400,'9'*5000):
        refused(call, wrote(csv_text([(a,digits if s==4 else s,x) for a,s,x in ROWS])), says='others have whole numbers')
        refused(call, wrote(csv_text([(a,s,round(500*x),digits) for a,s,x in ROWS], ('variant','seed','correct','n_images'))), says='give the number of validation images')
        assert 'Warning' not in call('compare', wrote(csv_text([(digits,*o) for o in zip(BASE,SIMPLE)], ('k','baseline','simple'))), '--wide')[2]

@pytest.mark.parametrize('words', [['--against','.6'],['--best'],['--by','dataset','--pool']], ids=str)
def test_sentences_stand_below_a_table_that_is_no_latex(call, words):
    f = wrote(csv_text([(a,s+i,round(x+.003*i*s, 4),d) for i,d in enumerate(('woof','nette')) for a,s,x in ROWS], ('variant','seed','accuracy','dataset')))
    if '--by' not in words: words = [*words,'--where','dataset=woof']
    said = {fmt:call('compare', f, *words, '--fmt', fmt)[1] for fmt in ('table','latex')}
    assert re.search(r'\.\s*$', said['table']) and said['latex'].rstrip().endswith(r'\end{tabular}') and not re.search(r'(?<!\\)%', said['latex'])

def test_against_has_no_more_fields(call): refused(call, CASES/'good.csv', '--against', '.6', '--full', says='--full')

@pytest.mark.parametrize('column', [lambda e: .1*(1-e/10), lambda e: 9-e], ids=['rate','patience'])
def test_a_column_that_changes_within_a_run_hides_no_unfinished_run(call, column):
    rows = [(a,s,e,column(e),round(x-.01*(9-e), 3)) for a,s,x in ROWS for e in range(3 if (a,s) in (('simple',3),('simple',4)) else 10)]
    refused(call, wrote(csv_text(rows, ('variant','seed','epoch','changes','accuracy'))), '--where', 'epoch=last', '--ignore', 'changes', says='it is not finished')

def test_percent_of_three_decimals_counts_no_images(call):
    f = wrote(csv_text([(a,s,.5,100*x+.001) for a,s,x in ROWS], ('variant','seed','n','accuracy')))
    (c,),_ = comparisons(call, f, '--percent')
    assert c['diff']==pytest.approx(.028) and c['n_images'] is None

def test_a_run_that_went_on_under_another_id_is_one(call):
    def job(a, s, e, part): return f'{a}-{s}-{part}' if (a,s)==('simple',0) else f'{a}-{s}'
    rows = [(a,s,job(a, s, e, part),e,round(x-.01*(9-e), 3)) for a,s,x in ROWS for part,epochs in enumerate((range(8),range(5,10)) if (a,s)==('simple',0) else (range(10),)) for e in epochs]
    is_the_five(comparisons(call, wrote(csv_text(rows, ('variant','seed','job_id','epoch','accuracy'))), '--where', 'epoch=last')[0][0])

@pytest.mark.parametrize('nothing', ['null','NA','-',''])
def test_a_run_that_is_not_there_in_a_wide_table_has_no_partner(call, nothing):
    rows = [(s,x,nothing if s==3 else y) for s,x,y in zip(range(5), BASE, SIMPLE)]
    (c,),_ = comparisons(call, wrote(csv_text(rows, ('seed','baseline','simple'))), '--wide')
    assert c['n']==4

@pytest.mark.parametrize('found', [dict(fit_time=[3]*5, test_accuracy=[*SIMPLE], test_neg_log_loss=[-.9,-.8,-.7,-.9,-.8]), dict(technique=['a']*5, loss=[.9]*5, acc=[*SIMPLE])], ids=['sklearn','texts'])
def test_a_loss_of_runs_makes_no_epochs(found):
    acc = 'acc' if 'acc' in found else 'test_accuracy'
    runs = read_results(wrote(json.dumps(found), 'o.json'), acc=acc, lone=True)
    assert len(runs)==5 and 'epoch' not in runs

def test_lists_of_folds_under_one_random_state_are_runs(call):
    f = wrote('\n'.join(json.dumps(dict(model=a, random_state=42, test_accuracy=[*x])) for a,x in (('baseline',BASE),('simple',SIMPLE))), 'f.jsonl')
    is_the_five(comparisons(call, f, '--wide')[0][0])

def test_a_score_beside_a_time_is_no_loss(call):
    f = wrote(csv_text([(a,s,x,300) for a,s,x in ROWS], ('variant','seed','score','wall_time')))
    assert 'may be a loss' not in comparisons(call, f)[1]

def test_an_error_rate_is_a_share(call):
    f = wrote(csv_text([(a,s,round(1-x, 3)) for a,s,x in ROWS], ('variant','seed','error_rate')))
    assert 'read as fractions' not in comparisons(call, f)[1]

def test_a_word_that_says_no_end_leaves_the_finished_runs(call):
    ends = dict(zip(range(10), ['failed','odd']))
    f = wrote(csv_text([(a,s,x,ends.get(i, 'finished')) for i,(a,s,x) in enumerate(ROWS)], ('variant','seed','accuracy','state')))
    assert commands(refused(call, f, says='Write finished or failed'))[0][-2:]==['--where','state=finished']
