"""The benchmarks of the statistics in short, and their committed records"""
import importlib.util,json,re,statistics,sys
from collections import Counter
from importlib.util import find_spec
from itertools import product
import pytest
from conftest import ROOT,python

BENCH = ROOT/'benchmarks'

@pytest.fixture(scope='module')
def calibration():
    sys.path.insert(0, str(BENCH))
    spec = importlib.util.spec_from_file_location('calibration', BENCH/'calibration.py')
    spec.loader.exec_module(m := importlib.util.module_from_spec(spec))
    return m

@pytest.mark.parametrize('name', ['calibration','stats_speed'])
def test_the_record_is_of_a_full_run_that_kept_every_bound(name, calibration):
    at = BENCH/'records'/(f'{name}-gpu.json' if name=='local_forms' else f'{name}.json')
    if name=='local_forms' and not at.is_file(): pytest.skip('it needs a GPU, and no record of one is there yet')
    text = at.read_text(); d = json.loads(text)
    assert d['ok'] and d['machine']['cpu'] and d['machine']['cores'] and not re.search(r'/(home|root|work|tmp)/', text)
    for r in d['rows']: assert r.get('ok', True) and ('studies' not in r or r['studies']>=20_000)
    if name=='calibration':
        assert {r['what'] for r in d['rows']}=={*BOUNDS,*LIMITS} and all((r['bound'] is None)==(r['what'] in LIMITS) or r['what'] in EITHER for r in d['rows'])
        cells = [r for r in d['rows'] if r['what']=='two arms, error']
        assert {(r['n'],r['correlation'],r['noise'],r['spread'],r['images']) for r in cells}=={*product((3,5,10,20), (-.5,0,.5,.9,.99), ('normal','t4'), (1,3), (400,4000))}
        for r in d['rows']: assert r['bound'] in (BOUNDS.get(r['what']), None), r

BOUNDS = {'two arms, error':'<=0.055', 'two arms, error, unpaired':'<=0.055', 'families, error':'<=0.055', 'families, error, unpaired':'<=0.055', 'a fifth diverged, error':'<=0.055', 'a fifth diverged, error, unpaired':'<=0.055',
    'halves of 20 real runs, error':'<=0.055', 'equivalence at the margin, error':'<=0.03', 'not worse at the margin, error':'<=0.03', 'race at the margin, called equivalent':'<=0.03',
    'race of 100 seeds, error':'<=0.035', 'study grown from 5 to 12 to 20 seeds, error of the sequence':'<=0.035', 'race at an effect of one sd, power within 30 seeds':'>=0.95',
    'race at an effect of one sd, pairs on average':'<=15', 'new images, missed':'<=0.07', 'new images, missed, unpaired':'<=0.07', 'new images, missed, raced':'<=0.07',
    '80 % power by the seeds at the upper end':'>=0.75'}
LIMITS = {'study grown from 5 to 12 to 20 seeds, error if each time it were taken for fresh', 'new images, missed by the interval over seeds', 'skewed noise, error', 'few runs against 20, error',
    'pairs that differ by about one image, error', 'a tenth of the seeds collapses, named better or worse', 'the worst fifth diverges, better when it trains'}
EITHER = {'families, error, unpaired', 'a fifth diverged, error, unpaired'} # a limit where spreads differ

def test_the_limits_in_the_notebook_are_those_of_the_record():
    rows = json.loads((BENCH/'records'/'calibration.json').read_text())['rows']
    def errs(what, name='value', **cell):
        values = [round(100*r[name]) for r in rows if r['what']==what and all(r[k] in v if isinstance(v, tuple) else r[k]==v for k,v in cell.items())]
        return ' to '.join(map(str, dict.fromkeys([min(values), max(values)])))
    collapse,fifth = 'a tenth of the seeds collapses, named better or worse','the worst fifth diverges, better when it trains'
    want = [errs('skewed noise, error', spread=3), errs('few runs against 20, error', n=2), errs('few runs against 20, error', n=3), errs('families, error, unpaired', n=5, variants=8, spread=3),
        errs('a fifth diverged, error, unpaired', n=5, noise='normal', spread=3), errs('pairs that differ by about one image, error', n=10, variants=2), errs(collapse, n=(5,10)),
        errs(collapse, 'of_those_where_none_was_seen', n=(5,10)), errs(fifth, n=20)]
    cells = json.loads((ROOT/'nbs'/'17_stats.ipynb').read_text())['cells']
    text = next(t for c in cells if '| where | errs in |' in (t := ''.join(c['source'])))
    assert re.findall(r'\| ([\d to]+) % \|$', text, re.M)==want
    four = [r['uncorrected'] for r in rows if r['what']=='families, error' and r['variants']==4 and r['noise']=='normal' and r['correlation']==.5 and r['spread']==1]
    said = re.search(r'Four useless variants against one baseline produce a winner in (\d+) to (\d+) %', json.dumps(cells, ensure_ascii=False)).groups()
    assert said==(f'{100*min(four):.0f}', f'{100*max(four):.0f}')

@pytest.mark.parametrize('section', ['two_arms','unpaired','families','unpaired_families','equivalence','raced','raced_to_equivalence','race_length','diverged','diverged_unpaired','new_images','pilots','limits','real'])
def test_calibration_in_short(section, calibration):
    "A fortieth of the studies, of which some are judged by the public functions too: shares may stray three standard errors over their bound"
    for r in calibration.SECTIONS[section](dict(real=.05).get(section, .025)):
        if r['bound'] is None: continue
        bound = float(r['bound'][2:])
        slack = 3*(bound*(1-bound)/r['studies'])**.5 if bound<1 else .5
        assert r['value']>=bound-slack if r['bound'][0]=='>' else r['value']<=bound+slack, r

@pytest.mark.slow
@pytest.mark.parametrize('section', ['two_arms','unpaired','unpaired_families','equivalence','raced_to_equivalence','race_length','diverged','diverged_unpaired','pilots','limits','real'])
def test_the_record_is_what_the_benchmark_gives_today(section, calibration):
    "The same draws at full size: what the library answers, and so the shares, have not changed since the record"
    shares = 'value','ok','of_those_where_none_was_seen'
    def cells(rows): return {json.dumps({k:v for k,v in r.items() if k not in shares}):r['value'] for r in rows}
    recorded = cells(json.loads((BENCH/'records'/'calibration.json').read_text())['rows'])
    today = cells(calibration.SECTIONS[section](1))
    assert {o for o in recorded if json.loads(o)['what'] in {json.loads(o)['what'] for o in today}}=={*today}
    for cell,value in today.items(): assert value==pytest.approx(recorded[cell], abs=.0005), cell

NAMES = [o.stem for o in BENCH.glob('*.py') if o.stem not in ('common','plain_fastai')]

@pytest.mark.parametrize('name', NAMES)
def test_every_benchmark_has_a_record_that_says_where_it_was_made_and_holds_its_rows(name):
    at = BENCH/'records'/(f'{name}-gpu.json' if name=='local_forms' else f'{name}.json')
    if name=='local_forms' and not at.is_file(): pytest.skip('it needs a GPU, and no record of one is there yet')
    text = at.read_text(); d = json.loads(text)
    m,rows = d.get('machine', d), d.get('rows') or d['results']
    assert rows and m.get('cpu', m.get('processor')) and m['cores'] and not re.search(r'/(home|root|work|tmp)/', text)
    assert 'ok' not in d or d['ok']==all(r.get('ok', True) for r in rows) or name=='fast_vs_plain'

def test_the_readme_says_what_the_records_say():
    table = (ROOT/'README.md').read_text()
    def faster(name, **which): return [r['times_faster'] for r in json.loads((BENCH/'records'/f'{name}.json').read_text())['rows'] if which.items()<=r.items()]
    runs,images,simple = faster('study', form='float32'), faster('input', what='images a second'), faster('layers', what='SimpleSelfAttention', against="fastai's layer")
    self,steps = faster('layers', what='SelfAttention', against="fastai's layer"), faster('step', what='step')
    two, = [r['times_one'] for r in json.loads((BENCH/'records'/'at_once.json').read_text())['rows'] if r['at_once']==2]
    def span(o): return f'{min(o)} to {max(o)}'
    fast = [faster('study_fast_bfloat16', form=o)[0] for o in ('float32','bfloat16')]
    assert f'{fast[0]} in float32, {fast[1]} in bfloat16 |' in table
    for what,text in (('runs an hour', runs[0]), ('two of our runs', two), ('images a second', span(images)), ('the simple layer', span(simple)),
        ('self-attention', span(self)), ('a training step in bfloat16', span(steps))):
        assert re.search(rf'^\| {what}.*\| {re.escape(str(text))}\b', table, re.M), what

def test_the_readme_says_what_the_record_of_the_gpu_says():
    rows = json.loads((BENCH/'records'/'h200.json').read_text())['rows']
    table = (ROOT/'README.md').read_text()
    def step(form): return statistics.median(row['ms_a_step'] for row in rows if row.get('form')==form and row.get('seed'))
    assert f"| {step('eager float16, as published')/step('compiled bfloat16'):.1f} |" in table
    def span(layer):
        faster = [row['ms']['theirs']['ms']/row['ms']['ours']['ms'] for row in rows if row.get('what')==layer]
        assert len(faster)==3
        return f'{min(faster):.2f} to {max(faster):.2f}'
    assert f"| {span('SimpleSelfAttention')}, {span('SelfAttention')} |" in table
    study, = [row for row in rows if row['step']=='study']
    assert 'took six and a half minutes on one GPU' in table and 380<study['seconds']<395

def test_a_layer_that_is_not_faster_or_takes_more_memory_fails_its_row():
    sys.path.insert(0, str(BENCH))
    import layers,torch
    x = torch.randn(2,8,6,6, requires_grad=True)
    a,b = (torch.nn.Conv2d(8,8,k) for k in (1,5))
    forms = dict(ours=lambda: layers.step(a, a, x), theirs=lambda: layers.step(b, b, x))
    assert not layers.row('a', 'b', 1000., forms, rounds=3)['ok'] and layers.row('a', 'b', .001, forms, 100., rounds=3)['ok']
    assert not layers.row('a', 'b', .001, forms, -1, rounds=3)['ok'], 'a part that nothing meets; so small layers may take 0 MiB more'

def test_plain_fastai_trains_the_same_network(tiny, recipe):
    "What the study's benchmark compares with: fastai's loaders and layer, this library's initial weights"
    sys.path.insert(0, str(BENCH))
    import plain_fastai,torch
    from simpleattn.models import create_model
    from simpleattn.train import get_learner
    assert 0<=plain_fastai.plain_run(tiny, recipe, 'simple', device='cpu')<=1
    dls = plain_fastai.plain_dls(tiny, recipe, device='cpu')
    assert len(dls.train)*recipe.bs==48 and len(dls.valid_ds)==24 and dls.one_batch()[0].shape==(8,3,32,32)
    a = create_model(recipe.backbone, plain_fastai.plain_variant('simple'), 6, 32, 0, recipe.stem, recipe.widen)
    b = create_model(recipe.backbone, 'simple', 6, 32, 0, recipe.stem, recipe.widen)
    x = torch.randn(2,3,32,32)
    assert torch.allclose(a.eval()(x), b.eval()(x), atol=1e-5) # gamma is 0

def test_calibration_would_see_a_wrong_test(calibration, monkeypatch):
    "With the intervals of the normal distribution in place of Student's, three seeds err far too often; in the public functions alone, the two part"
    from scipy import special
    from simpleattn import stats
    class Normal:
        def __getattr__(self, k): return getattr(special, k)
        def stdtr(self, df, t): return special.ndtr(t)
        def stdtrit(self, df, q): return special.ndtri(q)
    monkeypatch.setattr(stats, 'sp', Normal())
    with pytest.raises(AssertionError, match='here.*there'): next(iter(calibration.two_arms(.05)))
    monkeypatch.setattr(calibration, 'sp', Normal())
    r = next(iter(calibration.two_arms(.05)))
    assert r['value']>.15 and not r['ok']

def test_comparing_imports_neither_torch_nor_fastai(tmp_path):
    "On records, a csv and summaries; the processor time of a comparison of 200 records is a second or so"
    code = f'''
import sys,time
sys.path.insert(0, {str(BENCH)!r})
from stats_speed import a_study
n = a_study({str(tmp_path)!r}, 100, ('baseline','simple'))
from simpleattn.cli import main
t = time.process_time()
for args in (['compare','drawn','--root',{str(tmp_path)!r}], ['compare','--summary','.8,.01,5','.82,.01,5'], ['plan','demo','--sd','.01'], ['report','drawn','--root',{str(tmp_path)!r}]):
    assert main(args)==0, args
assert n==200 and time.process_time()-t < 10
sys.exit(str([m for m in ('torch','fastai') if m in sys.modules] or ''))'''
    res = python(code)
    assert res.stderr.strip()=='' and 'simple against baseline' in res.stdout, res.stderr

@pytest.mark.slow
def test_candidates_for_local_attention_on_a_gpu_agree_with_the_layer_and_so_do_their_gradients():
    "Triton interprets its kernel here; maps that fill no block, and a window wider than the map"
    code = f'''
import os,sys
os.environ['TRITON_INTERPRET'] = '1'
sys.path.insert(0, {str(BENCH)!r})
import torch,local_forms
from simpleattn.local import LocalSelfAttention
torch.manual_seed(0)
for C,H,W,window,heads in ((16,5,7,3,2), (12,3,2,4,2)):
    for dtype,tol in ((torch.float32,2e-6), (torch.bfloat16,.04)):
        layer,x = LocalSelfAttention(C, window=window, heads=heads).to(dtype), torch.randn(2, C, H, W, dtype=dtype, requires_grad=True)
        for n in local_forms.FORMS:
            if n!='flex': off,_ = local_forms.check(n, layer, x); print(n, off); assert off<tol, (n, dtype, off)
torch.compile = lambda f,**kwargs: f
layer,x = LocalSelfAttention(32, window=5, heads=4), torch.randn(2, 32, 6, 7)
with torch.no_grad(): assert torch.allclose(local_forms.flex(layer, x), layer(x), atol=1e-5), 'its forward alone'
'''
    res = python(code)
    assert res.returncode==0 and {l.split()[0] for l in res.stdout.splitlines()}=={'blocks','separable',*(['triton'] if find_spec('triton') else [])}, res.stderr

def test_a_lean_step_asks_less_of_the_host():
    "By the functions that one more step calls, Python's and others, which are the same on any machine; the record has the time"
    sys.path.insert(0, str(BENCH))
    import step
    def calls(epoch):
        n = Counter()
        epoch() # the first one imports, and fills caches
        sys.setprofile(lambda frame, event, arg: n.update([event]))
        try: epoch()
        finally: sys.setprofile(None)
        return n['call']+n['c_call']
    short,long = ({form:calls(epoch) for form,epoch in step.hosts(batches).items()} for batches in (4, 12))
    of_a_step = {form:(long[form]-short[form])/8 for form in long}
    assert of_a_step['lean'] <= .6*of_a_step['plain'], of_a_step

def test_first_epochs_stand_beside_the_published_ones(tiny, recipe, monkeypatch):
    "Stopped after one epoch of a run of several, with a learning rate that is still flat"
    sys.path.insert(0, str(BENCH))
    import dataclasses,first_epochs
    tiny_recipe = dataclasses.replace(recipe, sched='flat-cos', pct_start=.5)
    monkeypatch.setattr(first_epochs, 'derive', lambda published, opt, **kwargs: dataclasses.replace(tiny_recipe, opt=opt, epochs=2 if opt=='ralamb' else 5))
    found = {opt:[*first_epochs.rows('woof-128-5-ralamb-v1', opt, False, tiny)] for opt in ('ralamb','ralamb-published')}
    for row, in found.values(): assert row['epoch']==1 and (row['published'],row['n'])==(2.2278,20) and row['ok']==(abs(row['sds_above'])>=3)
    assert found['ralamb'][0]['train_loss']!=found['ralamb-published'][0]['train_loss']

def test_sharpness_of_images_as_they_are_is_the_runs_own_validation(recipe, tiny, tmp_path):
    sys.path.insert(0, str(BENCH))
    import sharpness
    from simpleattn.train import train_one
    run = train_one(recipe, 'simple', 3, tiny, device='cpu', checkpoints=tmp_path)
    checkpoint, = tmp_path.rglob('*.pt')
    found = [*sharpness.rows(checkpoint, tiny, recipe)]
    own, blurred = found[0], found[2]
    assert own['images']=='as they are' and own['run'].endswith('/3') and own['epoch']==recipe.epochs
    assert own['valid_loss']==pytest.approx(run.history[-1]['valid_loss'], abs=2e-4) and own['accuracy']==pytest.approx(run.acc, abs=1e-4)
    assert len(found)==5 and blurred['valid_loss']!=own['valid_loss']
