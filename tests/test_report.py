"Reports: one dict in all forms, nothing fetched, nothing unescaped, nothing unsaid"
import csv,io,json,re,shutil,subprocess
from html.parser import HTMLParser
from html import unescape
import numpy as np,pytest
from conftest import python
from simpleattn.recipes import CliError,Recipe
from simpleattn.report import comparison_table,report_data,to_html,to_markdown,write_report
from simpleattn.runs import Run,pack_bits,write_failure,write_run
from simpleattn.study import Study
from simpleattn.variants import get_variant

EVIL = '<script>alert(1)</script>|"\'&'
ENV = 'cpu-torch2.15'

def make(root, seeds=8, arms=('baseline','self','simple'), name='little', skip=(), diverged=(), source='full', recipe=Recipe('little', dataset='shapes'), device='cpu'):
    "A study whose runs are drawn: a seed's luck is shared by its arms"
    luck = np.random.default_rng(0).normal(size=seeds)*.01
    for j,a in enumerate(arms):
        v = get_variant(a)
        for s in range(seeds):
            if (a,s) in skip: continue
            bits,bad = np.random.default_rng((j,s)).random(500) < .7+.02*j+luck[s],(a,s) in diverged
            acc = None if bad else float(bits.mean())
            write_run(Run(recipe.to_dict(), recipe.hash, v.to_dict(), ENV, s, 'diverged' if bad else 'ok', acc, acc, None if bad else 2, 500, '' if bad else pack_bits(bits),
                [dict(train_loss=1., valid_loss=1., acc=None if bad else acc*k) for k in (.8,1)], 1_234_567+j, 1., 2.+s, dict(dataset='shapes', source=source, fingerprint='0'),
                dict(device=device, versions=dict(torch='2.15.0'), commit='0123456789ab', finished=f'2026-11-21T0{s}:00:00Z'), 'loss not finite'*bad), root)
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
    d = report_data(study)
    assert json.loads(json.dumps(d, allow_nan=False))==d==json.loads(page.with_name('report.json').read_text())

def test_the_result_is_what_compare_says(study):
    d,cs = report_data(study),study.compare()
    assert d['comparisons']==cs.to_dict()
    assert d['sentences']==[c.sentence('little') for c in cs]
    assert [{k:v for k,v in o.items() if k!='arm'} for o in d['summaries']]==[c.summary() for c in cs]

def test_html_and_markdown_hold_the_numbers(study, page):
    html,md = unescape(page.read_text()),page.with_name('report.md').read_text()
    runs = study.runs()
    for c in study.compare():
        for t in (html, md):
            assert c.summary()['difference'] in t and f'{c.p_adj:.4f}' in t and c.sentence('little') in t
            assert f'{100*runs[runs.arm==c.arm].acc.mean():.2f}' in t and f'{100*runs[runs.arm==c.arm].acc.std():.2f}' in t
    for r in report_data(study)['runs']: assert r['path'] in html and r['path'] in md and (study.root/r['path']).is_file()

def test_the_same_records_give_the_same_bytes(study, page, tmp_path):
    other = write_report(study, tmp_path)
    assert page.parent==study.root/'_reports'/'little'
    assert {o.name for o in tmp_path.iterdir()}=={'index.html','report.md','report.json','study.svg'}
    for o in tmp_path.iterdir(): assert o.read_bytes()==page.with_name(o.name).read_bytes(), o.name
    assert other==tmp_path/'index.html'

def test_reports_do_not_enter_the_runs(study, page): assert len(study.runs())==24 and study.missing()==[]

# ---- the page

def test_nothing_is_fetched(page):
    html = page.read_text()
    assert '://' not in html and '@import' not in html
    for tag,a in Page(html).tags:
        assert tag not in ('iframe','object','embed','img')
        for k in ('src','href','xlink:href','action','poster','srcset'):
            if a.get(k): assert a[k].startswith(('#','data:')), (tag, a[k])
    assert all(o.startswith('#') for o in re.findall(r'url\((.*?)\)', html))

def test_the_page_is_whole(page):
    p = Page(page.read_text())
    tags = [t for t,_ in p.tags]
    assert tags.count('svg')==3 and tags.count('h1')==1 and tags.count('main')==1
    assert 'width=device-width' in page.read_text() and 'prefers-color-scheme: dark' in page.read_text()
    ids = [a['id'] for t,a in p.tags if t not in ('clippath','path','g') and 'id' in a]
    assert len(ids)==len(set(ids))

def test_markup_is_escaped(tmp_path):
    s = make(tmp_path, recipe=Recipe('evil', dataset=EVIL), name='evil', device=EVIL)
    d = report_data(s)
    d['set_aside'][EVIL] = EVIL
    html,md = to_html(d),to_markdown(d)
    p = Page(html)
    assert [t for t,_ in p.tags].count('script')==1
    assert ''.join(p.text).count('alert(1)')==4
    assert EVIL not in html and '<script' not in md
    for t in md_tables(md): assert len({len(r) for r in t})==1

def test_markdown_tables_are_whole(page):
    tables = [*md_tables(page.with_name('report.md').read_text())]
    assert len(tables)==6
    for t in tables: assert len({len(r) for r in t})==1 and {c.strip() for c in t[1]}=={'---'}
    assert [len(t)-2 for t in tables[:3]]==[2,3,24]

# ---- what must be said

def test_an_incomplete_study_says_so(tmp_path):
    s = make(tmp_path, skip={('simple',3),('simple',5)})
    d = report_data(s)
    assert (d['n_runs'],d['n_declared'],d['missing'])==(22, 24, [['simple',3],['simple',5]])
    for t in (to_html(d), to_markdown(d)): assert '22 of 24 runs' in t and 'Incomplete' in t and 'So far' in t

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
    d,html = report_data(s),write_report(s).read_text()
    none,simple = d['comparisons']['comparisons']
    assert simple['n']==8 and simple['p'] is not None and none['verdict']=='not comparable' and none['failed_variant']==3
    assert "'self' has 0 finished run(s) and 3 failed tries" in unescape(html) and "not comparable" in d['sentences'][0]
    said = re.findall(r'<text[^>]*>([^<]*)', (tmp_path/'_reports'/'little'/'study.svg').read_text())
    assert said.index('self')+1==said.index('no finished run')<said.index('simple') and said.index('not comparable')<said.index(simple['verdict'])

def test_a_complete_study_says_nothing_of_it(study): assert report_data(study)['warnings']==[] and 'So far' not in report_data(study)['headline']

def test_diverged_failed_and_corrupt_are_counted(tmp_path):
    s = make(tmp_path, diverged={('simple',2)})
    write_failure('little', 'self', ENV, 1, 'killed', tmp_path)
    p = tmp_path/'little'/'baseline'/ENV/'7.json'
    p.write_text(p.read_text().replace('"seed": 7', '"seed": 8'))
    d = report_data(s)
    assert [(a['arm'],a['n'],a['n_diverged'],a['n_failed']) for a in d['arms']]==[('baseline',7,0,0),('self',8,0,1),('simple',7,1,0)]
    assert list(d['set_aside'])==[f'little/baseline/{ENV}/7.json']
    html = to_html(d)
    assert 'checksum' in html and 'diverged loss not finite' in html and '1 diverged' in html

def test_derived_images_are_no_replication(tmp_path): assert 'not the official archive: not a replication' in to_html(report_data(make(tmp_path, source='160-derived')))

def test_growth_and_other_envs_are_said(tmp_path):
    s = make(tmp_path)
    d = s.declare() | dict(env='cuda-torch2.15', growth=[dict(date='2026-11-21T00:00:00Z', runs_before=12, arms=[], seeds=[6,7])])
    s.file.write_text(json.dumps(d))
    said = ' '.join(report_data(s)['warnings'])
    assert 'grew on 2026-11-21, when 12 runs were there' in said and 'declared for cuda-torch2.15' in said

# ---- the table of the command line

def test_comparison_tables(study):
    cs = study.compare()
    text = comparison_table(cs).split('\n')
    assert len(text)==3 and text[1].startswith('self') and cs['simple'].verdict_words in text[2] and text[2].endswith(cs['simple'].new_verdict)
    md, = md_tables(comparison_table(cs, 'md'))
    assert {len(r) for r in md}=={1+6} and [r[0].strip() for r in md[2:]]==['self','simple']
    assert json.loads(comparison_table(cs, 'json'))==cs.to_dict()
    rows = [*csv.DictReader(io.StringIO(comparison_table(cs, 'csv')))]
    assert [r['arm'] for r in rows]==['baseline','self','simple']
    assert float(rows[2]['diff'])==cs['simple'].diff and rows[0]['diff']=='' and int(rows[0]['n'])==8
    with pytest.raises(CliError, match='choose table'): comparison_table(cs, 'html')

def test_full_tables_hold_every_field(study):
    cs = study.compare()
    fields = {*cs['self'].to_dict()}
    full, = md_tables(comparison_table(cs, 'md', full=True))
    assert {r[0].strip() for r in full[2:]}==fields and {len(r) for r in full}=={3}
    assert fields <= {*next(csv.reader(io.StringIO(comparison_table(cs, 'csv', full=True))))}

def test_other_contrasts_and_races_have_a_table(study):
    cs = study.compare(contrasts=[('self','simple')])
    assert comparison_table(cs).split('\n')[-1].startswith('simple - self')
    assert 'confidence sequence' in comparison_table(study.compare(sequential=True))

def test_sensitivity_is_shown_on_request_only(study):
    assert 'wilcoxon' not in comparison_table(study.compare())
    text = comparison_table(study.compare(extra=True, sequential=False))
    assert 'never to choose from' in text and 'wilcoxon_p' in text and [l.split()[0] for l in text.split('\n')[-2:]]==['self','simple']

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

@pytest.mark.slow
def test_a_browser_sorts_and_complains_of_nothing(page, tmp_path):
    browser = shutil.which('chromium') or shutil.which('google-chrome')
    if not browser: pytest.skip('no chromium here')
    click = '<script>document.querySelectorAll("table.sortable")[1].querySelectorAll("button")[4].click(); document.title = "clicked"</script></body>'
    (tmp_path/'p.html').write_text(page.read_text().replace('</body>', click))
    flags = 'headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update disable-sync enable-logging=stderr dump-dom'
    res = subprocess.run([browser, *(f'--{o}' for o in flags.split()), f'--user-data-dir={tmp_path}/profile', f'file://{tmp_path}/p.html'], capture_output=True, text=True, timeout=120)
    table = re.findall(r'<table class="sortable">.*?</table>', res.stdout, re.S)[1]
    means = [float(re.findall(r'<td[^>]*>(.*?)</td>', r)[3]) for r in re.findall(r'<tr><th scope="row">.*?</tr>', table)]
    assert means==sorted(means) and len(means)==3 and 'aria-sort="ascending"' in table and '<title>clicked' in res.stdout
    assert 'CONSOLE' not in res.stderr, res.stderr
