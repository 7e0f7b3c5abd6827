"Reports: one dict in all forms, nothing fetched, nothing unescaped, nothing unsaid"
import base64,csv,io,json,os,re,shutil,subprocess,sys
from dataclasses import replace
from pathlib import Path
from html.parser import HTMLParser
from html import unescape
import numpy as np,pytest
from browser import Page as Browser
from conftest import ROOT,cli,python
from simpleattn.recipes import CliError,Recipe
from simpleattn.report import comparison_table,count_flops,keep_report,live_page,make_report,to_html,to_markdown,write_report
from simpleattn.runs import Run,find_runs,pack_bits,unpack_bits,write_failure,write_run
from simpleattn.study import Study,load_study
from simpleattn.variants import get_variant
from simpleattn.words import text_table

EVIL = '<script>alert(1)</script>|"\'&'
ENV = 'cpu-torch2.15'

def make(root, seeds=8, arms=('baseline','self','simple'), name='little', skip=(), diverged=(), source='full', recipe=Recipe('little', dataset='shapes'),
    device='cpu', data={}, flops=0):
    "A study whose runs are drawn: a seed's luck is shared by its arms"
    luck = np.random.default_rng(0).normal(size=seeds)*.01
    for j,a in enumerate(arms):
        v = get_variant(a)
        for s in range(seeds):
            if (a,s) in skip: continue
            bits,bad = np.random.default_rng((j,s)).random(500) < .7+.02*j+luck[s],(a,s) in diverged
            acc = None if bad else float(bits.mean())
            write_run(Run(recipe.to_dict(), recipe.hash, v.to_dict(), ENV, s, 'diverged' if bad else 'ok', acc, acc, None if bad else 2, 500,
                '' if bad else pack_bits(bits),
                [dict(train_loss=1., valid_loss=1., acc=None if bad else acc*k) for k in (.8,1)], 1_234_567+j, 1., 2.+s,
                dict(dict(dataset='shapes', source=source, fingerprint='0'), **data),
                dict(device=device, versions=dict(torch='2.15.0'), commit='0123456789ab', finished=f'2026-11-21T0{s}:00:00Z'), 'loss not finite'*bad,
                flops=flops and flops+10**6*j), root)
    return Study(name, list(arms), seeds, recipe=recipe, root=root, env=ENV)

@pytest.fixture(scope='module')
def study(tmp_path_factory):
    s = make(tmp_path_factory.mktemp('runs'))
    s.declare()
    return s

@pytest.fixture(scope='module')
def page(study): return write_report(study)

class Page(HTMLParser):
    "Tags with their attributes, and what is written outside of style and script"
    def __init__(self, html): super().__init__(); self.tags,self.text,self.now = [],[],''; self.feed(html)
    def handle_starttag(self, tag, attrs): self.tags.append((tag, dict(attrs))); self.now = tag
    def handle_endtag(self, tag): self.now = ''
    def handle_data(self, d):
        if self.now not in ('style','script'): self.text.append(d)

def md_tables(text):
    "Rows of cells of every table"
    for block in re.findall(r'(?:^\|.*\|\n?)+', text, re.M): yield [re.split(r'(?<!\\)\|', l)[1:-1] for l in block.strip().split('\n')]

# ---- one result, many forms

def test_the_result_is_plain_json(study, page):
    d = make_report(study).to_dict()
    said = json.loads(page.with_name('report.json').read_text())
    assert {*said.pop('forms')}=={o.name for o in page.parent.iterdir()}
    assert json.loads(json.dumps(d, allow_nan=False))==d==said

def test_the_result_is_what_compare_says(study):
    d,cs = make_report(study).to_dict(),study.compare()
    assert d['comparisons']==cs.to_dict()
    assert d['sentences']==[c.sentence('little') for c in cs]
    assert [{k:v for k,v in o.items() if k!='arm'} for o in d['summaries']]==[c.summary() for c in cs]

def test_html_and_markdown_hold_the_numbers(study, page):
    html,md = unescape(page.read_text()),page.with_name('report.md').read_text()
    runs = study.runs()
    for c in study.compare():
        for t in (html, md):
            assert c.summary()['gain'] in t and c.summary()['answer'] in t and c.sentence('little') in t
            assert f'{100*runs[runs.arm==c.arm].acc.mean():.2f}' in t and f'{100*runs[runs.arm==c.arm].acc.std():.2f}' in t
    for r in make_report(study).to_dict()['runs']: assert r['path'] in html and r['path'] in md and (study.root/r['path']).is_file()

def test_each_number_stands_under_its_head(tmp_path):
    from simpleattn.stats import summarise
    s = make(tmp_path, arms=('baseline','self'))
    for p in (tmp_path/'little').rglob('*.json'): # runs whose best epoch is not their last
        d = {k:v for k,v in json.loads(p.read_text()).items() if k!='sha256'}
        d['history'][0]['acc'] = d['acc']+.05
        p.unlink(); write_run(Run(**d | dict(best_acc=d['acc']+.05, best_epoch=1)), tmp_path)
    tables = [[[o.strip() for o in r] for r in t] for t in md_tables(to_markdown(make_report(s)))]
    under = lambda first, *heads: {r[0]:[r[t[0].index(h)] for h in heads] for t in tables if t[0][0]==first and heads[0] in t[0] for r in t[2:]}
    df = s.runs(); pct = lambda *xs: [f'{100*x:.2f}' for x in xs]
    arms = under('arm', 'mean, %', '± 95 %', 'sd, pp', 'min, %', 'max, %')
    for k in s.arms: o = summarise(df[df.arm==k].acc); assert arms[k]==pct(o.mean, o.half_width, o.sd, o.low, o.high)
    runs = under('record', 'last epoch, %', 'best epoch, %')
    assert runs=={f'little/{r.variant}/{ENV}/{r.seed}.json':pct(r.acc, r.acc+.05) for r in df.itertuples()}

def test_the_same_records_give_the_same_bytes(study, page, tmp_path):
    other = write_report(study, tmp_path)
    assert page.parent==study.root/'_reports'/'little'
    assert {o.name for o in tmp_path.iterdir()}=={'index.html','report.md','report.json','report.tex','report.csv','runs.csv','study.svg'}
    for o in tmp_path.iterdir(): assert o.read_bytes()==page.with_name(o.name).read_bytes(), o.name
    assert other==tmp_path/'index.html'

def test_a_report_is_written_again_only_where_something_is_new(tmp_path):
    s = make(tmp_path, skip=[('simple',7)]); s.declare(); page = keep_report(s)
    def kept(): before = page.stat().st_mtime_ns; keep_report(load_study('little', tmp_path)); return page.stat().st_mtime_ns==before
    assert page==tmp_path/'_reports'/'little'/'index.html' and kept()
    make(tmp_path/'more'); shutil.copy(tmp_path/'more'/'little'/'simple'/ENV/'7.json', tmp_path/'little'/'simple'/ENV)
    assert not kept() and kept() and 'Incomplete' not in page.read_text()
    write_failure('little', 'self', ENV, 3, 'RuntimeError: no', tmp_path); assert not kept() and kept()
    (p := s.file).write_text(p.read_text().replace('"growth": []', '"growth": [{"date": "2026-11-22", "arms": [], "seeds": [], "runs_before": 0}]'))
    assert not kept() and kept()
    write_run(Run(**{**next(o for o in find_runs(tmp_path)[0] if o.seed==2 and o.variant['name']=='self').to_dict(), 'seed':8, 'status':'diverged', 'acc':None,
        'correct':''}), tmp_path)
    Study('little', ['baseline','self','simple'], 9, recipe=Recipe('little', dataset='shapes'), root=tmp_path, env=ENV).declare(); assert not kept() and kept()
    os.utime(page, (0,0)); assert kept(), 'a fresh checkout has other times, and what `report` found out about images and FLOPs stays'
    page.with_name('report.json').write_text('{'); assert not kept() and kept()

FORMS = 'index.html report.md report.tex report.csv report.json runs.csv study.svg'.split()
DAMAGES = dict(replaced=lambda p: p.write_text('old'), removed=lambda p: p.unlink(), cut=lambda p: p.write_bytes(p.read_bytes()[:-9]),
    edited=lambda p: p.write_text(re.sub(r'(?<=[0-9])[1-8](?=[^0-9])', '9', p.read_text())))

@pytest.fixture(scope='module')
def reported(tmp_path_factory):
    "A store with a study and its report"
    root = tmp_path_factory.mktemp('reported')
    s = make(root); s.declare(); keep_report(s)
    return root

@pytest.mark.parametrize('how', DAMAGES)
@pytest.mark.parametrize('form', FORMS)
def test_a_form_that_was_damaged_is_written_again(tmp_path, reported, form, how):
    shutil.copytree(reported, tmp_path, dirs_exist_ok=True)
    place = tmp_path/'_reports'/'little'/form
    written = place.read_bytes()
    DAMAGES[how](place)
    assert not place.exists() or place.read_bytes()!=written
    keep_report(load_study('little', tmp_path))
    assert place.read_bytes()==written

def test_a_report_without_hashes_counts_as_whole(tmp_path):
    s = make(tmp_path); s.declare()
    place = keep_report(s).with_name('report.json')
    said = json.loads(place.read_text()); del said['forms']
    place.write_text(json.dumps(said))
    place.with_name('report.md').write_text('of an older version')
    keep_report(load_study('little', tmp_path))
    assert json.loads(place.read_text())==said and place.with_name('report.md').read_text()=='of an older version'

def test_reports_do_not_enter_the_runs(study, page): assert len(study.runs())==24 and study.missing()==[]

# ---- the page

def test_nothing_is_fetched(page):
    html = page.read_text()
    assert '://' not in html and '@import' not in html
    for tag,a in Page(html).tags:
        assert tag not in ('iframe','object','embed','img')
        for k in ('src','href','xlink:href','action','poster','srcset'):
            if tag=='a': assert (page.parent/a['href']).is_file(), 'a click opens a file that lies beside the page'
            elif a.get(k): assert a[k].startswith(('#','data:')), (tag, a[k])
    assert all(o.startswith('#') for o in re.findall(r'url\((.*?)\)', html))

def test_the_page_is_whole(page):
    p = Page(page.read_text())
    tags = [t for t,_ in p.tags]
    assert tags.count('svg')==4 and tags.count('dt')==5 and tags.count('h1')==1 and tags.count('main')==1
    assert 'width=device-width' in page.read_text() and 'prefers-color-scheme: dark' in page.read_text()
    ids = [a['id'] for t,a in p.tags if t not in ('clippath','path','g') and 'id' in a]
    assert len(ids)==len(set(ids))

def test_markup_is_escaped(tmp_path):
    s = make(tmp_path, recipe=Recipe('evil', dataset=EVIL), name='evil', device=EVIL)
    report = make_report(s)
    report.reading.not_believed[EVIL] = EVIL
    html,md = to_html(report),to_markdown(report)
    p = Page(html)
    assert [t for t,_ in p.tags].count('script')==1
    assert ''.join(p.text).count('alert(1)')==4
    assert EVIL not in html and '<script' not in md
    for t in md_tables(md): assert len({len(r) for r in t})==1

def test_markdown_tables_are_whole(page):
    tables = [*md_tables(page.with_name('report.md').read_text())]
    assert len(tables)==8
    for t in tables: assert len({len(r) for r in t})==1 and {c.strip() for c in t[1]}=={'---'}
    assert [len(t)-2 for t in tables[:5]]==[2,3,3,16,24]

# ---- what must be said

def test_an_incomplete_study_says_so(tmp_path):
    s = make(tmp_path, skip={('simple',3),('simple',5)})
    d = make_report(s).to_dict()
    assert (d['n_runs'],d['n_declared'],d['missing'])==(22, 24, [['simple',3],['simple',5]])
    for t in (to_html(make_report(s)), to_markdown(make_report(s))): assert '22 of 24 runs' in t and 'Incomplete' in t and 'So far' in t

def test_a_study_too_small_to_compare_has_a_report(tmp_path):
    s = make(tmp_path, skip={(a,k) for a in ('self','simple') for k in range(1,8)})
    html = write_report(s).read_text()
    assert 'No comparison yet' in html and '10 of 24 runs' in html
    assert json.loads((tmp_path/'_reports'/'little'/'report.json').read_text())['comparisons'] is None
    empty = Study('empty', ['baseline','self'], 3, recipe=Recipe('empty'), root=tmp_path, env=ENV)
    assert '0 of 6 runs' in write_report(empty).read_text()

def test_an_arm_without_runs_keeps_its_place_and_blocks_nobody(tmp_path):
    s = make(tmp_path, skip={('self',k) for k in range(8)})
    for k in range(3): write_failure('little', 'self', ENV, k, 'no such layer', tmp_path)
    d,html = make_report(s).to_dict(),write_report(s).read_text()
    none,simple = d['comparisons']['comparisons']
    assert simple['n']==8 and simple['p'] is not None and none['verdict']=='not comparable' and none['failed_variant']==3
    assert "'self' has 0 finished run(s) and 3 failed tries" in unescape(html) and "not comparable" in d['sentences'][0]
    said = re.findall(r'<text[^>]*>([^<]*)', (tmp_path/'_reports'/'little'/'study.svg').read_text())
    assert said.index('self')+1==said.index('no finished run')<said.index('simple') and said.index('not comparable')<said.index(simple['verdict'])

def test_a_complete_study_says_nothing_of_it(study): assert make_report(study).to_dict()['warnings']==[] and 'So far' not in make_report(study).to_dict()['headline']

def test_diverged_failed_and_corrupt_are_counted(tmp_path):
    s = make(tmp_path, diverged={('simple',2)})
    write_failure('little', 'self', ENV, 1, 'killed', tmp_path)
    p = tmp_path/'little'/'baseline'/ENV/'7.json'
    p.write_text(p.read_text().replace('"seed": 7', '"seed": 8'))
    report = make_report(s)
    d = report.to_dict()
    assert [(a['arm'],a['n'],a['n_diverged'],a['n_failed']) for a in d['arms']]==[('baseline',7,0,0),('self',8,0,1),('simple',7,1,0)]
    assert list(d['set_aside'])==[f'little/baseline/{ENV}/7.json']
    html = to_html(report)
    assert 'checksum' in html and 'diverged loss not finite' in html and '1 diverged' in html

def test_derived_images_are_no_replication(tmp_path):
    assert 'not the official archive: not a replication' in to_html(make_report(make(tmp_path, source='160-derived')))

def test_runs_that_shared_a_gpu_are_said():
    "Four workers made the committed study of the GPU; two cores, each with a run, share nothing"
    shared,alone = (to_markdown(make_report(load_study(name, ROOT/'runs'))) for name in ('woof-128-5-v1-gpu','woof-cpu'))
    assert 'Up to 4 runs were training at the same time.' in shared and 'at the same time' not in alone

def test_growth_and_other_envs_are_said(tmp_path):
    s = make(tmp_path)
    d = s.declare() | dict(env='cuda-torch2.15', growth=[dict(date='2026-11-21T00:00:00Z', runs_before=12, arms=[], seeds=[6,7])])
    s.file.write_text(json.dumps(d))
    said = ' '.join(make_report(s).to_dict()['warnings'])
    assert 'grew on 2026-11-21, when 12 runs were there' in said and 'declared for cuda-torch2.15' in said

# ---- the table of the command line

def test_comparison_tables(study):
    cs = study.compare()
    text = comparison_table(cs).split('\n')
    assert len(text)==3 and text[1].startswith('self') and cs['simple'].verdict_words in text[2] and text[2].endswith(cs['simple'].summary()['new_images'])
    md, = md_tables(comparison_table(cs, 'md'))
    assert {len(r) for r in md}=={1+6} and [r[0].strip() for r in md[2:]]==['self','simple']
    assert json.loads(comparison_table(cs, 'json'))==cs.to_dict()
    rows = [*csv.DictReader(io.StringIO(comparison_table(cs, 'csv')))]
    assert [r['arm'] for r in rows]==['baseline','self','simple']
    assert [(r['verdict'],r['verdict_words']) for r in rows[1:]]==[(c.verdict,c.verdict_words) for c in cs] and rows[0]['verdict']=='baseline'
    assert float(rows[2]['diff'])==cs['simple'].diff and rows[0]['diff']=='' and int(rows[0]['n'])==8
    with pytest.raises(CliError, match='choose table'): comparison_table(cs, 'html')

def test_full_tables_hold_every_field(study):
    cs = study.compare()
    fields = {*cs['self'].to_dict()}
    full, = md_tables(comparison_table(cs, 'md', full=True))
    assert {r[0].strip().removesuffix(' (95 %)') for r in full[2:]}==fields and {len(r) for r in full}=={3}
    assert fields <= {*next(csv.reader(io.StringIO(comparison_table(cs, 'csv', full=True))))}

def test_other_contrasts_and_races_have_a_table(study):
    cs = study.compare(contrasts=[('self','simple')])
    assert comparison_table(cs).split('\n')[-1].startswith('simple - self')
    assert 'confidence sequence' in comparison_table(study.compare(sequential=True))

# ---- light, and in a browser

def test_a_report_needs_no_torch(study, tmp_path):
    code = f'''
import sys
from simpleattn.study import load_study
from simpleattn.report import write_report
assert not {{'matplotlib','jinja2','pandas'}} & set(sys.modules)
write_report(load_study('little', {str(study.root)!r}), {str(tmp_path)!r})
assert not {{'torch','fastai'}} & set(sys.modules)'''
    res = python(code)
    assert res.returncode==0, res.stderr

# ---- what it costs, where noise comes from, which images

def test_flops_are_shown_where_records_hold_them(tmp_path, study):
    report = make_report(make(tmp_path, flops=10**9, data=dict(n_train=1000)))
    d = report.to_dict()
    assert [a['flops'] for a in d['arms']]==[10**9, 10**9+10**6, 10**9+2*10**6]
    assert {r['train_flops'] for r in d['runs'] if r['arm']=='self'}=={3*(10**9+10**6)*5*960}
    html = to_html(report)
    assert 'Accuracy against FLOPs' in html and '1,001.0' in html and 'No FLOPs are known' not in html
    html = to_html(make_report(study))
    assert 'Accuracy against time' in html and 'Accuracy against FLOPs' not in html
    for t in (html, to_markdown(make_report(study))): assert 'No FLOPs are known of baseline, self, simple' in t and 'report little --flops' in t

def test_flops_of_old_records_are_counted_on_the_network_that_they_describe():
    from simpleattn.models import cost,create_model
    r = Recipe('r', size=32, backbone='xresnet18', widen=.125, stem=(8,8,64))
    def run(v, n_out=7, **kw):
        want = cost(create_model('xresnet18', v, n_out, 32, 0, r.stem, r.widen), 32)
        return want,Run(r.to_dict(), r.hash, get_variant(v).to_dict() | kw, ENV, 0, 'ok', .5, .5, 1, 8, '', [], want['params'], 1., 1.,
            dict(source='full', fingerprint='0'), dict(finished=''))
    for v in ('baseline','simple','simple@2.-1'): want,got = run(v); assert count_flops(got)==want['flops']>0
    assert run('simple')[0]['flops']>run('baseline')[0]['flops']
    assert count_flops(run('simple', hash='0'*12)[1])==0 and count_flops(run('simple', name='mine', hash='0'*12)[1])==0
    want,got = run('simple', name='mine')
    assert count_flops(got)==want['flops'], 'a variant is known by its hash, whatever its name'
    assert count_flops(replace(run('self')[1], params=run('self')[0]['params']+1))==0

def test_a_new_record_holds_its_flops(tiny, recipe):
    from simpleattn.models import cost
    from simpleattn.train import get_learner,train_one
    run = train_one(recipe, 'simple', data=tiny, device='cpu')
    assert run.flops==cost(get_learner(recipe, 'simple', data=tiny, device='cpu').model, recipe.size)['flops']>0

def test_noise_is_what_decompose_says(study, page):
    from simpleattn.stats import decompose
    runs,text = study.runs(),page.with_name('report.md').read_text()
    rows = {r[0].strip():[o.strip() for o in r] for r in [*md_tables(text)][2][2:]}
    for arm in study.arms:
        c = decompose(np.stack(runs[runs.arm==arm].correct))
        assert rows[arm][1]=='8' and rows[arm][2]==f'{100*runs[runs.arm==arm].acc.std():.2f}' and rows[arm][4]==f'{100*c.sd_churn:.2f}' and rows[arm][7]==f'{100*c.se_new_images:.2f}'
        assert rows[arm][3]==('not detectable' if c.sd_seed is None else f'{100*c.sd_seed:.2f}')

def right_on(b):
    "What a record of one epoch says of the images that were right"
    acc = float(b.mean())
    return dict(n_images=len(b), correct=pack_bits(b), acc=acc, best_acc=acc, best_epoch=1, history=[dict(train_loss=1., valid_loss=1., acc=acc)])

def differing(tmp_path, gained=(7,11), lost=(3,)):
    "Runs of two arms that are alike but for a few images"
    s = make(tmp_path, arms=('baseline','self'), seeds=6)
    for p in (tmp_path/'little').rglob('*.json'):
        d = json.loads(p.read_text())
        b,mine = np.random.default_rng(d['seed']).random(500)<.7,d['variant']['name']=='self'
        b[[*gained]],b[[*lost]] = mine,not mine
        d = {k:v for k,v in d.items() if k!='sha256'} | right_on(b)
        p.unlink(); write_run(Run(**d), tmp_path)
    return s

def test_images_on_which_arms_differ_are_found(tmp_path):
    report = make_report(differing(tmp_path))
    one, = report.to_dict()['differ']
    assert [(o['index'],o['baseline'],o['variant']) for o in one['images']]==[(7,0,6),(11,0,6),(3,6,0)]
    assert (one['n'],one['least'],one['count'])==(6,6,3) and one['chance']<1
    assert 'validation image 7' in to_html(report) and '3 of 500 images differ by 6 or more of 6 runs' in to_markdown(report)

def test_runs_on_two_validation_sets_have_a_report(tmp_path):
    "Their accuracies stand side by side; no noise, and no image on which arms differ, is made of both"
    make(tmp_path).declare()
    for run in find_runs(tmp_path)[0]:
        b = run.bits()[:24]
        write_run(replace(run, env='gpu-torch2.15', **right_on(b)), tmp_path)
    report = make_report(load_study('little', tmp_path, 'any'))
    assert [(arm.summary.n, arm.noise) for arm in report.arms]==[(16,None)]*3 and report.differ==()
    assert '48 of 48 runs' in to_html(report)

def test_chance_finds_as_many_where_there_is_nothing(tmp_path):
    one, = make_report(make(tmp_path, arms=('baseline','self'), seeds=8)).to_dict()['differ']
    assert one['count']>=8 and .5<one['count']/one['chance']<2

def test_images_are_named_and_shown_on_request_only(tmp_path, tiny, monkeypatch):
    from simpleattn.data import fingerprint,split_files
    s = make(tmp_path/'runs', arms=('baseline','self'), seeds=4, recipe=Recipe('little', dataset='tiny', source='full'),
        data=dict(fingerprint=fingerprint(tiny)))
    for p in (tmp_path/'runs'/'little').rglob('*.json'): # 24 validation images
        d = json.loads(p.read_text()); b = unpack_bits(d['correct'], 500)[:24]
        d = {k:v for k,v in d.items() if k!='sha256'} | right_on(b)
        p.unlink(); write_run(Run(**d), tmp_path/'runs')
    val = split_files(tiny)[1]
    d = make_report(s, data=tiny).to_dict()
    assert d['differ'][0]['images'] and all(o['name']==val[o['index']] and 'jpeg' not in o for o in d['differ'][0]['images'])
    html = write_report(s, tmp_path/'out', data=tiny, images=True).read_text()
    shown = [a['src'] for t,a in Page(html).tags if t=='img']
    assert len(shown)==len(d['differ'][0]['images']) and all(o.startswith('data:image/jpeg;base64,/9j/') for o in shown)
    assert val[d['differ'][0]['images'][0]['index']] in html
    (tmp_path/'repo'/'.git').mkdir(parents=True)
    with pytest.raises(CliError, match='outside'): write_report(s, tmp_path/'repo'/'deep'/'er', data=tiny, images=True)
    assert not (tmp_path/'repo'/'deep').exists()
    with pytest.raises(CliError, match='fingerprint'):
        make_report(make(tmp_path/'b', arms=('baseline','self'), recipe=Recipe('little', dataset='tiny', source='full')), data=tiny).to_dict()

def test_diverged_runs_have_a_section(tmp_path, study):
    s = make(tmp_path, diverged={('simple',2)})
    write_failure('little', 'self', ENV, 1, 'killed', tmp_path)
    for t in (to_html(make_report(s)), to_markdown(make_report(s))):
        assert f'little/simple/{ENV}/2.json' in t and 'simple: 1 of 8 runs diverged (95 % interval up to 52.7 %), 0 tries failed' in t and 'self: 0 of 8 runs diverged' in t
    assert 'Diverged runs' not in to_html(make_report(study))

def test_the_race_is_drawn(tmp_path):
    env = make(tmp_path).env
    s = Study('raced', ['baseline','self','simple'], 8, recipe=Recipe('little', dataset='shapes'), root=tmp_path, env=env,
        raced=dict(arms=2, looks=None, cap=None))
    html = write_report(s).read_text()
    assert '<figure aria-label="Race">' in html and 'Difference after each seed' in html and 'confidence sequence' in html

# ---- for a paper, and for other programs

def test_csv_files_hold_every_run_and_comparison(study, page):
    rows = [*csv.DictReader(page.with_name('runs.csv').open())]
    df = study.runs()
    assert [(r['arm'],int(r['seed']),float(r['acc'])) for r in rows]==[*zip(df.arm, df.seed, df.acc)] and all((study.root/r['path']).is_file() for r in rows)
    c = study.compare()['simple']
    assert [float(r['diff']) for r in csv.DictReader(page.with_name('report.csv').open()) if r['arm']=='simple']==[c.diff]
    from simpleattn.results import compare_results
    assert compare_results(page.with_name('runs.csv'))['simple'].diff==pytest.approx(c.diff)

NASTY = r'a_b & 5 % of $x \command{evil} #1 ~ ^ <b> "q" | -0.5 – 😀 ± \end{tabular}'

def read_tex(text):
    "Cells of each tabular: what follows an unescaped & or \\\\, and a check that nothing else in it is special"
    for body in re.findall(r'\\begin\{tabular\}\{[^\n]*\}\n\\toprule\n(.*?)\\bottomrule\n\\end\{tabular\}', text, re.S):
        rows = [r.removeprefix('\\midrule').strip() for r in body.strip().split('\\\\\n') if r.strip()]
        yield [re.split(r'(?<!\\) ?& ?', r.removesuffix('\\\\').strip()) for r in rows]

def test_latex_holds_the_table(study, page):
    cs = study.compare()
    for text in (comparison_table(cs, 'latex'), page.with_name('report.tex').read_text()):
        t = next(read_tex(text))
        assert [r[0] for r in t]==['arm','self','simple'] and {len(r) for r in t}=={7}
        assert t[2][2].replace('$-$','-')==cs['simple'].summary()['gain'] and t[2][3]==cs['simple'].verdict_words
    arms = [*read_tex(page.with_name('report.tex').read_text())][1]
    assert [r[0] for r in arms[1:]]==['baseline','self','simple'] and arms[3][4]==f'{100*cs["simple"].mean_variant:.2f}'

def test_latex_escapes_names():
    row = next(read_tex(text_table(['arm','n'], [[NASTY,'5']], 'latex')))[1]
    left = re.sub(r'\\[&%$#_{}]|\\text[a-z]+\{\}|\$-\$|\$\\pm\$', '', row[0])
    assert len(row)==2 and not set(left)&set('&%$#_{}~^<>|"\\') and left.isascii()

@pytest.mark.slow
def test_latex_compiles(study, page, tmp_path):
    if not shutil.which('pdflatex'): pytest.skip('no pdflatex here')
    head,tables = '\\documentclass{article}\\usepackage{booktabs,array}\\begin{document}\n',page.with_name('report.tex').read_text()
    for body in (tables, tables+text_table(['arm',NASTY], [[NASTY,'5']], 'latex')):
        (tmp_path/'t.tex').write_text(head+body+'\\end{document}')
        res = subprocess.run(['pdflatex','-interaction=nonstopmode','-halt-on-error','t.tex'], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert res.returncode==0 and 'Output written' in res.stdout, res.stdout[-2000:]
        assert body!=tables or 'Overfull' not in res.stdout, 'wider than a page of article'

def test_the_command_line_gives_latex_and_never_images_in_a_repository(study, tmp_path):
    res = cli('compare', 'little', '--root', study.root, '--fmt', 'latex')
    assert res.returncode==0 and next(read_tex(res.stdout))[1][0]=='self'
    (tmp_path/'.git').mkdir()
    res = cli('report', 'little', '--root', study.root, '--out', tmp_path/'r', '--images')
    assert res.returncode==2 and 'outside' in res.stderr and not (tmp_path/'r').exists()

# ---- in a browser

@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    b = Browser(tmp_path_factory.mktemp('browser'))
    yield b
    b.close()

@pytest.fixture(scope='module')
def evil(tmp_path_factory):
    "A page with diverged runs, records set aside and names that are markup"
    p = tmp_path_factory.mktemp('evil')
    report = make_report(make(p, recipe=Recipe('evil', dataset=EVIL), name='evil', device=EVIL, diverged={('simple',2)}))
    report.reading.not_believed[EVIL*9] = EVIL
    (p/'evil.html').write_text(to_html(report))
    return p/'evil.html'

SHOWN = "[...document.querySelectorAll('table')].find(t => t.tHead.textContent.includes('mean, %'))"

def test_a_click_sorts_a_table(browser, page):
    browser.open(page)
    head = f"[...{SHOWN}.tHead.rows[0].cells].find(c => c.textContent.startsWith('mean'))"
    def means(): return [float(o) for o in browser.js(f"[...{SHOWN}.tBodies[0].rows].map(r => r.cells[4].textContent)")]
    for way,order in (('ascending',sorted(means())), ('descending',sorted(means(), reverse=True))):
        browser.click(f"{head}.querySelector('button')")
        assert means()==order and len(set(order))==3 and browser.js(f"{head}.getAttribute('aria-sort')")==way
    assert browser.js(f"[...{SHOWN}.tBodies[0].rows].map(r => r.cells[0].textContent)")[0]=='simple'

@pytest.mark.parametrize('dark', [False,True])
@pytest.mark.parametrize('width', [1280,390])
def test_a_browser_complains_of_nothing_and_asks_for_nothing(browser, page, evil, width, dark):
    for f in (page, evil):
        browser.events.clear()
        browser.open(f, width, dark=dark)
        browser.js("for (const d of document.querySelectorAll('details')) d.open = true")
        assert browser.complaints()==[] and set(browser.requests())=={f.resolve().as_uri()}
        assert browser.js('document.documentElement.scrollWidth')<=width, 'the page scrolls sideways'
        assert browser.js("[...document.querySelectorAll('figure svg')].every(s => s.getBoundingClientRect().width>300)")
        paper,ink = (browser.js(f"getComputedStyle(document.body).{k}.match(/\\d+/g).map(Number).reduce((a,b) => a+b)") for k in ('backgroundColor','color'))
        assert (paper<ink)==dark and abs(paper-ink)>400

def test_the_browser_test_sees_a_request_and_a_complaint(browser, page, tmp_path):
    bad = page.read_text().replace('</body>', '<img src="http://127.0.0.1:9/x.png"><script>console.error("no"); nothing()</script></body>')
    browser.events.clear()
    (tmp_path/'bad.html').write_text(bad); browser.open(tmp_path/'bad.html')
    assert len(browser.complaints())>=2
    (tmp_path/'bad.html').write_text(re.sub(r'<meta http-equiv.*?>', '', bad)); browser.events.clear(); browser.open(tmp_path/'bad.html')
    assert 'http://127.0.0.1:9/x.png' in browser.requests()

def test_paper_takes_three_pages_and_names_the_file_of_what_is_folded_away(browser, tmp_path):
    browser.open(write_report(make(tmp_path, 20)))
    pdf = base64.b64decode(browser('Page.printToPDF')['data'])
    assert len(re.findall(rb'/Type\s*/Page\b', pdf))<=3
    browser.open(write_report(load_study('first', ROOT/'runs'), tmp_path/'first', flops=True))
    assert len(re.findall(rb'/Type\s*/Page\b', base64.b64decode(browser('Page.printToPDF')['data'])))<=3
    browser.open(tmp_path/'_reports'/'little'/'index.html')
    assert not browser.js("[...document.querySelectorAll('details')].some(d => d.open)")
    browser.open(tmp_path/'_reports'/'little'/'index.html', media='print')
    assert 'in runs.csv' in browser.js("document.querySelector('summary').innerText")

@pytest.mark.parametrize('width', [390,600,1400])
def test_every_answer_is_in_sight_at_every_width(browser, study, page, width):
    browser.open(page, width)
    at = browser.js("[...document.querySelectorAll('td.answer')].map(c => [c.textContent, c.getBoundingClientRect().left, c.getBoundingClientRect().right])")
    assert [o[0] for o in at]==[c.verdict_words for c in study.compare()] and all(0<=left<right<=width for _,left,right in at)

def test_numbers_stand_to_the_right_and_answers_have_their_colour(browser, tmp_path):
    study = declared_before(tmp_path, 20, ('baseline','self','simple'))
    browser.open(write_report(study))
    def styles(select, what): return set(browser.js(f"[...document.querySelectorAll('{select}')].map(c => getComputedStyle(c).{what})"))
    assert styles('td.num', 'textAlign')=={'right'} and styles('td.answer', 'textAlign')=={'left'}
    assert browser.js("[...document.querySelectorAll('td.num')].length")>30
    assert study.compare()['simple'].verdict=='better' and styles('td.answer.better', 'color')=={'rgb(26, 127, 55)'}

# ---- where it is written

def test_a_report_of_another_env_replaces_nothing(tmp_path):
    st = make(tmp_path); st.declare()
    page = write_report(st)
    before = page.read_bytes()
    other = write_report(load_study('little', tmp_path, 'cpu-torch9.9'))
    assert other==page.parent/'cpu-torch9.9'/'index.html' and page.read_bytes()==before and 'No comparison yet' in other.read_text()
    assert write_report(load_study('little', tmp_path, 'any')).parent==page.parent/'any' and page.read_bytes()==before

def test_a_report_leaves_no_file_of_an_earlier_one(tmp_path):
    st = make(tmp_path); st.declare()
    out = write_report(st).parent
    assert {'study.svg','report.csv','runs.csv'}<={o.name for o in out.iterdir()}
    for f in tmp_path.glob(f'*/*/{ENV}/*.json'): f.unlink()
    write_report(load_study('little', tmp_path))
    assert {o.name for o in out.iterdir()}=={'index.html','report.json','report.md','report.tex'}

def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    st = make(tmp_path)
    (tmp_path/'file').write_text('')
    with pytest.raises(CliError, match='cannot be written to .*file/here.*--out'): write_report(st, tmp_path/'file'/'here')

# ---- an interruption

@pytest.mark.parametrize('k', range(8))
def test_a_report_that_was_interrupted_is_made_again(tmp_path, monkeypatch, k):
    "At each of its files, also where the runs are afterwards what they were before"
    import simpleattn.report as module
    s = make(tmp_path, skip=[('simple',7)]); s.declare()
    page = keep_report(s)
    new = next(o for o in find_runs(tmp_path)[0] if o.variant['name']=='simple' and o.seed==6)
    record = write_run(replace(new, seed=7), tmp_path)
    put,left = module.put,[k]
    def stopped(*args, **kwargs):
        left[0] -= 1
        if left[0]<0: raise KeyboardInterrupt
        return put(*args, **kwargs)
    monkeypatch.setattr(module, 'put', stopped)
    with pytest.raises(KeyboardInterrupt): keep_report(load_study('little', tmp_path))
    monkeypatch.setattr(module, 'put', put)
    if k%2: record.unlink()
    reading = load_study('little', tmp_path).read()
    assert keep_report(reading)==page and page.read_text()==to_html(make_report(reading))
    said = json.loads(page.with_name('report.json').read_text())
    assert len(said['runs'])==reading.n_runs

@pytest.mark.parametrize('said', ['[]','{}','{"study": 1}','{"study": {}, "env": "", "arms": [1], "runs": []}','null'])
def test_a_report_json_that_is_none_is_written_anew(tmp_path, said):
    s = make(tmp_path); s.declare()
    page = keep_report(s)
    page.with_name('report.json').write_text(said)
    keep_report(s)
    assert len(json.loads(page.with_name('report.json').read_text())['runs'])==s.read().n_runs

# ---- what an earlier report knew

def knowing(tmp_path):
    "A study, and the page of a report that named its images and counted FLOPs"
    s = differing(tmp_path); s.declare()
    page = write_report(s)
    said = json.loads(page.with_name('report.json').read_text())
    for o in said['differ'][0]['images']: o['name'] = f"val/disc/{o['index']}.png"
    for o in said['arms']: o['flops'] = 7_000_000
    page.with_name('report.json').write_text(json.dumps(said))
    return s,page

def known(page):
    said = json.loads(page.with_name('report.json').read_text())
    return {o['name'] for d in said['differ'] for o in d['images']},{o['flops'] for o in said['arms']}

KNOWN = {'val/disc/7.png','val/disc/11.png','val/disc/3.png'},{7_000_000}

def test_a_machine_that_lacks_the_images_makes_a_report_no_worse(tmp_path):
    s,page = knowing(tmp_path)
    assert known(write_report(load_study('little', tmp_path)))==KNOWN and 'val/disc/7.png' in page.read_text()
    assert known(write_report(s, tmp_path/'out'))==KNOWN, 'what is written elsewhere too'
    write_failure('little', 'self', ENV, 3, 'RuntimeError: no', tmp_path)
    assert known(keep_report(load_study('little', tmp_path)))==KNOWN and '7.0' in page.read_text()
    with live_page(s) as after: after(s)
    assert known(page)==KNOWN

@pytest.mark.parametrize('k', [0,1,4,7])
def test_an_interruption_makes_it_no_worse(tmp_path, monkeypatch, k):
    import simpleattn.report as module
    s,page = knowing(tmp_path)
    put,left = module.put,[k]
    def stopped(*args, **kwargs):
        left[0] -= 1
        if left[0]<0: raise KeyboardInterrupt
        return put(*args, **kwargs)
    monkeypatch.setattr(module, 'put', stopped)
    with pytest.raises(KeyboardInterrupt): write_report(s)
    monkeypatch.setattr(module, 'put', put)
    assert known(write_report(s))==KNOWN

def test_names_are_not_taken_from_a_report_of_other_images(tmp_path):
    s,page = knowing(tmp_path)
    said = json.loads(page.with_name('report.json').read_text())
    said['facts']['data'] = ['dataset shapes, source full, fingerprint 1']
    page.with_name('report.json').write_text(json.dumps(said))
    assert known(write_report(s))[0]=={None}

# ---- while a study runs

def reloads(page): return 'http-equiv="refresh"' in page.read_text()

def test_a_running_study_has_a_page_that_loads_itself_again(tmp_path, monkeypatch):
    import stub_runs
    monkeypatch.setenv('STUB_LOG', str(tmp_path/'starts'))
    monkeypatch.setitem(sys.modules, 'simpleattn.train', stub_runs)
    monkeypatch.setattr('simpleattn.models.check_networks', lambda arms: None)
    s = Study('s', ['baseline','simple'], 2, recipe=Recipe('tiny'), root=tmp_path/'runs')
    page,seen = tmp_path/'runs'/'_reports'/'s'/'index.html',[]
    with live_page(s) as write:
        def after(study):
            write(study)
            seen.append((re.search(r'(\d) of 4 runs', page.read_text())[1], reloads(page), page.with_name('report.json').exists()))
        s.run('serial', device='cpu', progress=False, after=after)
    assert seen==[(str(n), True, False) for n in range(5)]
    assert not reloads(page) and json.loads(page.with_name('report.json').read_text())['n_runs']==4

def test_a_page_of_a_stopped_study_reloads_no_more_and_one_that_cannot_be_written_stops_nothing(tmp_path, capsys):
    s = make(tmp_path, skip=[('simple',7)]); s.declare()
    with pytest.raises(KeyboardInterrupt):
        with live_page(s) as after:
            after(s)
            assert reloads(tmp_path/'_reports'/'little'/'index.html')
            raise KeyboardInterrupt
    page = tmp_path/'_reports'/'little'/'index.html'
    assert not reloads(page) and 'Incomplete' in page.read_text()
    shutil.rmtree(tmp_path/'_reports'); (tmp_path/'_reports').write_text('')
    with live_page(s) as after: after(s)
    assert 'The page was not written' in capsys.readouterr().err

# ---- how many seeds

def declared_before(root, seeds, arms):
    "A study that was declared before its runs"
    Study('little', list(arms), seeds, recipe=Recipe('little', dataset='shapes'), root=root, env=ENV).declare()
    return make(root, seeds, arms)

def test_an_undecided_study_has_a_power_curve_with_its_hours(tmp_path):
    from simpleattn.report import report_figures
    report = make_report(declared_before(tmp_path, 3, ('baseline','self')))
    (label,plan), = report.open_plan
    c, = report.comparisons
    assert c.verdict=='undecided' and (label, plan.n, plan.runs_needed)==('self', 3, c.plan.runs_needed)
    assert plan.hours==pytest.approx(3*2*3/3600) # of three seeds and two arms at a median of 3 s
    assert 'How many seeds: self' in report_figures(report)

def test_a_study_that_was_looked_at_and_one_that_is_decided_have_none(tmp_path):
    grown = make_report(make(tmp_path/'grown', 3, ('baseline','self'))) # never declared, so its pairs were there to be seen
    assert grown.comparisons['self'].verdict=='undecided' and grown.open_plan==[]
    two = Study('two', ['baseline','simple'], 20, recipe=Recipe('little', dataset='shapes'), root=tmp_path/'decided', env=ENV)
    two.declare()
    make(tmp_path/'decided', 20)
    decided = make_report(two)
    assert decided.comparisons['simple'].verdict=='better' and decided.open_plan==[]
