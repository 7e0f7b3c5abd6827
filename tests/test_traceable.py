"""Every number of the README and of the committed reports comes from the records: here it is computed anew, with plain arithmetic where that is enough"""
import ast,base64,contextlib,csv,hashlib,io,json,math,re,statistics
from dataclasses import replace
from html import unescape
import numpy as np,pytest
from conftest import ARCHIVE,ROOT
from simpleattn.control import harness_words
from simpleattn.report import count_flops,make_report,to_html,to_latex,to_markdown
from simpleattn.runs import read_run
from simpleattn.stats import compare,compare_many,decompose
from simpleattn.study import load_study

RUNS = ROOT/'runs'
STUDIES = sorted(o.stem for o in (RUNS/'_studies').glob('*.json'))

def records(study):
    "Arm -> the records of its seeds, as they lie in their files"
    d = json.loads((RUNS/'_studies'/f'{study}.json').read_text())
    arms = {}
    for a in d['arms']:
        files = [RUNS/a['recipe']/a['variant']['name']/d['env']/f'{s}.json' for s in d['seeds']]
        if d.get('raced'): files = [o for o in files if o.exists()] # a race goes on
        arms[a['arm']] = [json.loads(o.read_text()) for o in files]
    return d,arms

def bits(r): return np.unpackbits(np.frombuffer(base64.b64decode(r['correct']), np.uint8))[:r['n_images']]

def tables(text):
    "Title or summary above it -> rows of cells, of every markdown table"
    res,title = {},None
    for block in re.split(r'\n\n', text):
        if m := re.match(r'## (.*)|<details><summary>(.*)</summary>', block): title = m[1] or m[2]
        if block.startswith('| '): res[title] = [[unescape(o.strip()) for o in re.split(r'(?<!\\)\|', l)[1:-1]] for l in block.split('\n')]
    return res

def committed(name):
    "Name of a committed report, its folder, its result"
    p = RUNS/'_reports'/name
    return name,p,json.loads((p/'report.json').read_text())

def raced(name): return bool(json.loads((RUNS/'_studies'/f'{name}.json').read_text()).get('raced'))

@pytest.fixture(scope='module', params=STUDIES)
def report(request): return committed(request.param)

@pytest.fixture(scope='module', params=[o for o in STUDIES if not raced(o)])
def complete(request):
    "The same of a study of a declared number of seeds, which are all there; a race is judged by another rule, and goes on"
    return committed(request.param)

def test_every_declared_study_has_a_report(): assert {'woof-cpu','demo','gate'}<={*STUDIES}=={o.name for o in (RUNS/'_reports').iterdir()}

# ---- whole reports

def same(a, b, path=''):
    "Where two results differ by more than the last digits of a float"
    if isinstance(a, dict) and isinstance(b, dict) and a.keys()==b.keys(): return [o for k in a for o in same(a[k], b[k], f'{path}/{k}')]
    if isinstance(a, list) and isinstance(b, list) and len(a)==len(b): return [o for i,(x,y) in enumerate(zip(a, b)) for o in same(x, y, f'{path}/{i}')]
    if isinstance(a, float) and isinstance(b, (int,float)): return [] if math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) else [path]
    return [] if a==b else [path]

def test_a_report_is_made_anew_from_the_records(report):
    name,folder,old = report
    study = load_study(name, RUNS)
    new = make_report(study, flops=True, harness=harness_words(study))
    def named(d, as_in): return replace(d, images=tuple(replace(o, name=q['name']) for o,q in zip(d.images, as_in['images'], strict=True)))
    new = replace(new, differ=tuple(map(named, new.differ, old['differ']))) # names are held by a test of their own
    assert same({k:v for k,v in old.items() if k!='forms'}, new.to_dict())==[]
    assert to_markdown(new, 'study.svg')==(folder/'report.md').read_text() and to_latex(new)==(folder/'report.tex').read_text()
    def text(html): return re.sub(r'<svg.*?</svg>\s*', '', html, flags=re.S)
    assert text(to_html(new, dict.fromkeys(re.findall(r'<figure aria-label="(.*?)">', (folder/'index.html').read_text()),
        '<svg></svg>')))==text((folder/'index.html').read_text())

def test_a_report_has_the_forms_that_it_says(report):
    name,folder,data = report
    said = data['forms']
    assert {*said}=={o.name for o in folder.iterdir()} and all(said[o]==hashlib.sha256((folder/o).read_bytes()).hexdigest()[:16] for o in said if o!='report.json')

def test_no_report_holds_an_image(report):
    name,folder,data = report
    assert all('data:image' not in o.read_text() and '<img' not in o.read_text() and 'jpeg' not in [k for d in data['differ'] for i in d['images'] for k in i]
        for o in folder.iterdir())

# ---- its tables, by plain arithmetic

def test_arms(complete):
    name,folder,_ = complete
    d,arms = records(name)
    rows = {r[0]:r for r in tables((folder/'report.md').read_text())['Arms'][2:]}
    assert rows.keys()==arms.keys()
    for k,rs in arms.items():
        acc = [r['acc'] for r in rs if r['status']=='ok']
        from scipy.stats import t
        sd = statistics.stdev(acc)
        want = [k, len(acc), len(rs)-len(acc), 0,
            *(f'{100*o:.2f}' for o in (statistics.mean(acc), t.ppf(.975, len(acc)-1)*sd/len(acc)**.5, sd, min(acc), max(acc))), f"{rs[0]['params']:,}"]
        assert rows[k][:10]==[*map(str, want)] and rows[k][11]==f"{statistics.median(r['wall_seconds'] for r in rs):.0f}"
        assert all(r['acc']==pytest.approx(bits(r).mean(), abs=1e-7) for r in rs if r['status']=='ok'), 'an accuracy is not that of its bits'
        n = rs[0].get('flops') or count_flops(read_run(RUNS/rs[0]['recipe']['name']/rs[0]['variant']['name']/rs[0]['env']/f"{rs[0]['seed']}.json"))
        assert rows[k][10]==(f'{n/1e6:,.1f}' if n else '')

def test_comparison(complete):
    name,folder,_ = complete
    d,arms = records(name)
    base = [r['acc'] for r in arms[d['baseline']]]
    rows = {r[0]:r for r in tables((folder/'report.md').read_text())['Comparison'][2:]}
    assert rows.keys()==arms.keys()-{d['baseline']}
    cs = compare_many({k:[dict(seed=r['seed'], acc=r['acc'], status=r['status'], correct=bits(r), recipe=r['recipe']['name'], env=r['env']) for r in rs]
        for k,rs in arms.items()},
        d['baseline'], alpha=d['alpha'], delta=d['delta'], n_images=arms[d['baseline']][0]['n_images'])
    for k,row in rows.items():
        diff = 100*statistics.mean(r['acc']-b for r,b in zip(arms[k], base))
        m = re.fullmatch(r'([+-][\d.]+) \(([+-][\d.]+) to ([+-][\d.]+)\)', row[2])
        assert [float(o) for o in m.groups()]==pytest.approx([diff, *(100*o for o in cs[k].interval)], abs=.0051)
        alone = compare(base, [r['acc'] for r in arms[k]], delta=d['delta'], alpha=d['alpha']/len(cs), n_images=arms[k][0]['n_images'])
        assert int(row[1])==len(base) and alone.interval==pytest.approx(cs[k].interval) and alone.verdict==cs[k].verdict
        p = cs[k].p_verdict
        assert row[3]==cs[k].verdict_words and row[4]==('' if p is None else '< 0.0001' if p<1e-4 else f'{p:.4f}')
        assert row[5:]==[str(cs[k].summary()[o]) for o in ('next','new_images')]

def test_noise_and_images(complete):
    name,folder,data = complete
    d,arms = records(name)
    t = tables((folder/'report.md').read_text())
    for row in t['Seed noise and validation-set noise'][2:]:
        c = np.array([bits(r) for r in arms[row[0]]], float)
        R,M = c.shape
        V = c.mean(1).var(ddof=1); churn = (c.var(0, ddof=1).mean()-V)/(M-1)
        assert row[1:5]==[str(R), f'{100*V**.5:.2f}', f'{100*(V-churn)**.5:.2f}' if V>churn else 'not detectable', f'{100*churn**.5:.2f}']
        assert row[6:]==[f'{100*(V/R)**.5:.2f}', f'{100*decompose(c).se_new_images:.2f}']
    names = {o['name'] or f"validation image {o['index']}":o['index'] for e in data['differ'] for o in e['images']}
    for image,arm,b,v,diff in t['Images on which arms differ most'][2:]:
        n = [sum(int(bits(r)[names[image]]) for r in arms[k]) for k in (d['baseline'],arm)]
        assert [b,v]==[f'{o} of {len(arms[arm])}' for o in n] and int(diff)==n[1]-n[0]

def test_runs(report):
    name,folder,_ = report
    _,arms = records(name)
    want = {f"{r['recipe']['name']}/{r['variant']['name']}/{r['env']}/{r['seed']}.json":(k,r) for k,rs in arms.items() for r in rs}
    rows = tables((folder/'report.md').read_text())['Runs'][2:]
    assert {r[0] for r in rows}==want.keys() and len(rows)==len(want)
    for r in rows:
        k,o = want[r[0]]
        assert r[1:]==[k, str(o['seed']), o['status'], f"{100*o['acc']:.2f}", f"{100*o['best_acc']:.2f}", f"{o['wall_seconds']:.0f}", o['machine']['finished'],
            o['machine']['commit']]
    for r in csv.DictReader((folder/'runs.csv').open()):
        assert (float(r['acc']),float(r['train_seconds']))==(want[r['path']][1]['acc'],want[r['path']][1]['train_seconds'])

def test_names_are_those_of_the_validation_images(report, tmp_path):
    from simpleattn.data import fingerprint,get_path,split_files
    name,_,data = report
    r = next(iter(records(name)[1].values()))[0]
    if r['recipe']['dataset']!='shapes' and not ARCHIVE.is_file(): pytest.skip(f'the real Imagewoof is not at {ARCHIVE}')
    path = get_path(r['recipe']['dataset'], r['recipe']['source'], ARCHIVE.parent)
    if fingerprint(path)!=r['data']['fingerprint']: pytest.skip('another Pillow draws other files')
    val = split_files(path, r['recipe']['split'])[1]
    assert len(val)==r['n_images'] and all(o['name']==val[o['index']] for e in data['differ'] for o in e['images'])

# ---- the README

@pytest.fixture(scope='module')
def shown():
    "What each cell of the README's notebook shows when it is run here"
    import nbformat
    from nbclient import NotebookClient
    nb = nbformat.read(ROOT/'nbs'/'index.ipynb', 4)
    nb.cells = [c for c in nb.cells if c.cell_type=='code' and '#| eval: false' not in c.source]
    NotebookClient(nb, timeout=300, kernel_name='python3', resources=dict(metadata=dict(path=str(ROOT/'nbs')))).execute()
    def text(o): return o.text if o.output_type=='stream' else next(o.data[k] for k in ('text/markdown','text/html','text/plain') if k in o.data)
    return [text(o) for c in nb.cells if '#| hide' not in c.source for o in c.outputs if o.output_type!='stream' or o.name=='stdout']

def squeeze(s): return re.sub(r'<style.*?</style>|\s', '', s, flags=re.S)

def test_the_readme_shows_what_the_records_say(shown):
    readme = squeeze((ROOT/'README.md').read_text())
    assert len(shown)>=6 and sum('pp' in o for o in shown)>=3
    assert [o for o in shown if squeeze(o) not in readme]==[], 'run nbs/index.ipynb again, then make docs'

def test_no_number_of_a_readme_table_is_left_over(shown):
    "Every number with a decimal point in a table or an output of the README is in what the cells show now"
    text = re.sub(r'<style.*?</style>|```.*?```|^\| Speed .*?$', '', (ROOT/'README.md').read_text(), flags=re.S|re.M) # tests/test_benchmarks.py holds the row of speed
    there = {n for b in re.findall(r'^(?:\|.*\n|    .*\n| *<t[dh].*\n)+', text, re.M) for n in re.findall(r'\d+\.\d+', b)}
    assert len(there)>30 and there-{n for o in shown for n in re.findall(r'\d+\.\d+', o)}==set()

def test_what_the_readme_says_of_the_study():
    _,arms = records('woof-cpu')
    r = next(iter(arms.values()))[0]['recipe']
    said = (ROOT/'README.md').read_text()
    assert len(arms['baseline'])==20 and f"{sum(map(len, arms.values()))} trainings on 2 CPU cores: an {r['backbone']} of half width, {r['epochs']} epochs, Imagewoof reduced to {r['presize']} px and cropped to {r['size']}, twenty paired seeds" in said
    assert r['widen']==.5 and {o['data']['source'] for rs in arms.values() for o in rs}=={'160-derived'}

def test_what_the_readme_says_of_the_study_in_the_picture():
    _,arms = records('woof-128-5-v1-gpu')
    r = arms['baseline'][0]['recipe']
    said = (ROOT/'README.md').read_text()
    assert {len(rs) for rs in arms.values()}=={12} and f"{sum(map(len, arms.values()))} trainings of a published recipe, an {r['backbone']} on Imagewoof at {r['size']} px for {r['epochs']} epochs" in said
    assert {o['data']['source'] for rs in arms.values() for o in rs}=={'160-derived'} and {o['env'] for rs in arms.values() for o in rs}=={'nvidia-h200-torch2.11'}

@pytest.mark.parametrize('says', [r'run beside the published script, .*Step for step they agree, but for one thing: its Adam adds epsilon before the correction of bias',
    'made from larger files, so it is not a replication', 'The files differ, too: those of Imagenette are centre squares'])
def test_what_a_reader_must_know_to_compare_with_the_published_numbers_is_said(says): assert re.search(says, (ROOT/'README.md').read_text())

# ---- the tests above can fail

def test_a_changed_number_is_seen(tmp_path):
    import shutil
    for o in ('_studies','demo'): shutil.copytree(RUNS/o, tmp_path/o)
    old = make_report(load_study('demo', RUNS)).to_dict()
    assert same(old, make_report(load_study('demo', tmp_path)).to_dict())==[]
    p = next((tmp_path/'demo'/'simple').rglob('2.json'))
    p.write_text(p.read_text().replace('"acc": 0.', '"acc": 0.1', 1))
    new = make_report(load_study('demo', tmp_path)).to_dict()
    assert len(new['set_aside'])==1 and same(old, new)
