"""The README and the site lead somewhere, and what is built is not committed"""
import ast,builtins,importlib,inspect,json,os,re,shlex,shutil,symtable,sys
import pytest
from fastcore.basics import groupby
from browser import Page as Browser
from conftest import ROOT,SIMPLEATTN,run_process

def test_every_link_of_the_readme_leads_to_a_file():
    links = re.findall(r'\]\((?!\w+:|#)([^)#]+)', (ROOT/'README.md').read_text())
    assert len(links)>=8 and [o for o in links if not (ROOT/o).exists()]==[]

def test_every_verb_and_option_that_the_readme_names_is_there():
    said = re.findall(r'^simpleattn (\w+)(.*?)(?: #.*)?$', (ROOT/'README.md').read_text(), re.M)
    assert len(said)>=7
    for verb,rest in said:
        res = run_process(SIMPLEATTN, verb, '--help')
        assert res.returncode==0 and [o for o in re.findall(r'--[a-z-]+', rest) if o not in res.stdout]==[], (verb,rest)

def formulas():
    sys.path.insert(0, str(ROOT/'nbs'/'site'))
    try: import formulas
    finally: sys.path.pop(0)
    return formulas

def test_formulas_of_prose_are_drawn_and_code_stays():
    text = formulas().with_formulas('From $1/\\sqrt d$ to `$HOME`, for $5 or $6.\n\n```\n$x$\n```')
    assert text.count('<svg')==1 and 'From <svg class="tex"' in text and '`$HOME`' in text and 'for $5 or $6.' in text and '```\n$x$\n```' in text

def test_signatures_have_what_is_said_of_each_parameter():
    sys.path.insert(0, str(ROOT/'nbs'/'site'))
    try: from signatures import signatures
    finally: sys.path.pop(0)
    code = 'def f(\n    x:int,  # `How` many\n    y=2     # At <most>\n)->str: # Text\n    "Says it"\n    return str(x+y)\n\ndef _hidden(): pass\n'
    text, = signatures(code, 'words', ['', *code.split('\n')], {'f'})
    assert text.startswith('### words.f\n') and 'f(x: int, y=2) -&gt; str' in text and 'source/words.html#L-2' in text
    for o in ('<code>x</code></td><td><code>How</code> many','At &lt;most&gt;','<code>returns</code></td><td>Text','<p>Says it</p>'): assert o in text

def test_nothing_that_is_built_is_committed():
    res = run_process('git', 'ls-files', cwd=ROOT)
    if res.returncode: pytest.skip('no repository here')
    at_the_top = {o for o in res.stdout.split('\n') if o and '/' not in o}
    assert {o for o in at_the_top if not o.endswith(('.md','.ini','.toml'))}<={'.gitignore','CITATION.cff','LICENSE','Makefile','constraints.txt'}
    assert [o for o in res.stdout.split('\n') if re.match(r'\.cache/|_site/|_docs/|dist/|runs-', o) or o.endswith(('.pyc','.pt'))]==[]

def check_pages(html):
    "Tutorials come first and in their order, formulas are drawn, signatures have a source"
    text = (html/'00_attention.html').read_text()
    menu = text[text.index('class="md-nav'):]
    places = [menu.index(f'href="{o}.html"') for o in ('tutorials/explore','tutorials/compare','tutorials/cluster','01_local','CHANGELOG')]
    assert places==sorted(places)
    assert 'mathjax' not in text.lower() and '<script src=""' not in text and text.count('class="tex"')>5 and '\\top' not in re.sub('aria-label="[^"]*"', '', text)
    assert re.search(r'href="source/attention.html#L-\d+"', text) and (html/'source'/'attention.html').is_file()
    assert 'rel="next"' in text and 'rel="prev"' in text

def check_boxes(html, profile):
    "No code and no table leaves its box, on a desk and on a phone"
    browser = Browser(profile)
    for page in ('00_attention','17_stats','tutorials/compare'):
        for width in (1400,390):
            browser.open(html/f'{page}.html', width)
            assert browser.js('document.documentElement.scrollWidth')<=width and browser.js(OUT_OF_ITS_BOX)==[], (page, width)
    browser.close()

OUT_OF_ITS_BOX = '''[...document.querySelectorAll('.jp-Notebook *')].filter(e => {
    const box = e.getBoundingClientRect()
    if (!box.width || box.right<=innerWidth+1) return false
    for (let o = e.parentElement; o; o = o.parentElement) if (['auto','scroll'].includes(getComputedStyle(o).overflowX)) return false
    return true
}).map(e => e.outerHTML.slice(0, 80))'''

@pytest.mark.slow
def test_the_site_is_built_and_a_broken_link_is_found(tmp_path):
    p = tmp_path/'copy'
    for o in ('nbs','runs/_reports'): shutil.copytree(ROOT/o, p/o, ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    for o in ('CHANGELOG.md','CONTRIBUTING.md','CITATION.cff'): shutil.copy(ROOT/o, p)
    res = run_process(sys.executable, p/'nbs'/'site'/'build.py', cwd=p)
    html = p/'_site'/'html'
    assert res.returncode==0 and 'The site is' in res.stdout and (html/'tutorials'/'explore.html').is_file(), res.stdout+res.stderr
    check_pages(html)
    check_boxes(html, tmp_path/'profile')
    assert 'permutation' not in (html/'index.html').read_text(), 'code that the README does not show'
    page = html/'tutorials'/'explore.html'
    page.write_text(page.read_text().replace('A layer is a class', 'A <a href="../nowhere.html">layer</a> is a class'))
    res = run_process(sys.executable, '-c', 'import sys,build; sys.exit(build.check_links())', cwd=p/'nbs'/'site')
    assert res.returncode==1 and res.stdout.split('\n')[1:-1]==['tutorials/explore.html: ../nowhere.html'], res.stdout+res.stderr

def test_the_changelog_names_every_name_that_left_its_module():
    "Those of c1d5ce0 are in golden/names.json"
    import importlib
    said = (ROOT/'CHANGELOG.md').read_text().split('\n## ')[1] # of 0.2.0
    def left(module, name):
        try: return name not in importlib.import_module(f'simpleattn.{module}').__all__
        except ModuleNotFoundError: return True
    old = json.loads((ROOT/'tests'/'golden'/'names.json').read_text())
    assert [f'{m}.{o}' for m,names in old.items() for o in names if left(m, o) and not re.search(rf'\b{o}\b', said)]==[]

def public_now():
    "Public name -> what has it, whatever its module"
    import importlib
    modules = [importlib.import_module(f'simpleattn.{o.stem}') for o in (ROOT/'simpleattn').glob('*.py') if o.stem[0]!='_' and o.stem!='preload']
    return groupby(((name, getattr(m, name)) for m in modules for name in getattr(m, '__all__', ())), 0, 1)

def has(it, member, parameter):
    "Has a class or a function a member, a parameter, or a member of that parameter?"
    if member:
        if not hasattr(it, member): return member in getattr(it, '__dataclass_fields__', ()) # one without a default
        it = getattr(it, member)
    if not parameter: return True
    if not callable(it): return False
    takes = inspect.signature(it.__init__ if isinstance(it, type) else it).parameters.values()
    return any(o.name==parameter or o.kind is o.VAR_KEYWORD for o in takes)

def test_the_changelog_names_members_and_parameters_that_left():
    "Those of c1d5ce0 are in golden/members.json; of a name that is gone as a whole the test above sees"
    said = {*re.findall(r'\w+', (ROOT/'CHANGELOG.md').read_text().split('\n## ')[1])}
    public,old = public_now(), json.loads((ROOT/'tests'/'golden'/'members.json').read_text())
    there = [re.fullmatch(r'(\w+)(?:\.(\w+))?(?:\((\w+)\))?', o).groups() for o in old]
    there = [o for o in there if o[0] in public]
    left = [(owner, *of_it) for owner,*of_it in there if not any(has(it, *of_it) for it in public[owner])]
    assert [o for o in left if said.isdisjoint([o[1] or o[0], o[2]])]==[]
    assert len(there)>1000

# ---- the README

def fences(): return re.findall(r'^```(\w*)\n(.*?)^```$', (ROOT/'README.md').read_text(), re.M|re.S)

def test_every_fence_of_the_readme_has_a_language_and_short_lines():
    assert len(fences())*2==len(re.findall('^```', (ROOT/'README.md').read_text(), re.M))
    assert {o for o,_ in fences()}=={'python','bash','bibtex'}
    long = [line for _,text in fences() for line in text.split('\n') if len(line)>135]
    assert long==[], 'a long sentence stands in prose'

PASTE = '''import json,subprocess,sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for language,text in json.load(open('blocks.json')):
    if language=='python': shell.run_cell(text).raise_error()
    else: subprocess.run(['bash', '-e', '-c', text], check=True)
'''

def test_every_block_of_the_readme_runs_as_pasted(tmp_path):
    "In order, in one session; but for the set-up, which `make` does for every target"
    if not shutil.which('bash'): pytest.skip('no bash here')
    blocks = [o for o in fences() if o[0]!='bibtex' and not o[1].startswith('make ')]
    assert len(blocks)>=9 and {o for o,_ in blocks}=={'python','bash'}
    (tmp_path/'blocks.json').write_text(json.dumps(blocks))
    shutil.copytree(ROOT/'runs', tmp_path/'runs')
    bin = tmp_path/'bin'; bin.mkdir() # the command is on the PATH, as the README has it
    (bin/'simpleattn').write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m simpleattn "$@"\n')
    (bin/'simpleattn').chmod(0o755)
    before = {p.relative_to(ROOT):p.read_bytes() for p in (ROOT/'runs').rglob('[0-9]*.json')}
    env = os.environ | dict(PATH=f'{bin}:{os.environ["PATH"]}', PYTHONPATH=str(ROOT), CUDA_VISIBLE_DEVICES='')
    res = run_process(sys.executable, '-c', PASTE, cwd=tmp_path, env=env, timeout=900)
    assert res.returncode==0, res.stdout[-3000:]+res.stderr[-3000:]
    assert {p.relative_to(tmp_path) for p in (tmp_path/'runs').rglob('[0-9]*.json')}=={*before}, 'it trains nothing'
    assert 'resnet-attention against resnet: paired t, n = 4' in res.stdout

# ---- a page is read cell by cell

PAGES = sorted([*(ROOT/'nbs').glob('[0-9]*.ipynb'), *(ROOT/'nbs'/'tutorials').glob('*.ipynb')]) # the blocks of the README are run above
GIVEN = {*dir(builtins), '__name__', '__file__', '__class__', 'display', 'get_ipython'}

def read_cells(page):
    "Number, source, and whether it is exported, of each code cell that a reader sees and that is run"
    for i,cell in enumerate(json.loads(page.read_text())['cells']):
        source = ''.join(cell['source'])
        said = re.findall(r'^#\| *(\w+:?.*)$', source, re.M)
        if cell['cell_type']!='code' or 'hide' in said or 'eval: false' in said: continue
        yield i, re.sub('^[%!].*', '', source, flags=re.M), any(o.startswith('export') for o in said)

def scopes(scope):
    yield scope
    for o in scope.get_children(): yield from scopes(o)

def starred(source):
    "Names that `from module import *` brings"
    for o in ast.walk(ast.parse(source)):
        if isinstance(o, ast.ImportFrom) and o.names[0].name=='*':
            module = importlib.import_module(o.module)
            yield from getattr(module, '__all__', [name for name in vars(module) if name[0]!='_'])

def made_in(source):
    "Names that a cell makes or imports"
    top = symtable.symtable(source, 'cell', 'exec')
    names = {o.get_name() for o in top.get_symbols() if o.is_assigned() or o.is_imported()}
    return names | {*starred(source)}

def used_in(source):
    "Names that a cell asks for at once, and those that its functions ask for when they are called"
    top,*inner = scopes(symtable.symtable(source, 'cell', 'exec'))
    at_once = {o.get_name() for o in top.get_symbols() if o.is_referenced()}
    return at_once, {o.get_name() for scope in inner for o in scope.get_symbols() if o.is_referenced() and o.is_global()}

def not_made(page):
    "(cell, names) that a visible cell uses, and that no visible cell up to it has made"
    cells = [*read_cells(page)]
    made,on_page = set(GIVEN), GIVEN.union(*(made_in(source) for _,source,_ in cells))
    for i,source,exported in cells:
        made |= made_in(source)
        at_once,later = used_in(source)
        lacks = (at_once-made) | (later-(on_page if exported else made)) # a function of the module may call one that stands below
        if lacks: yield i, sorted(lacks)

def test_a_hidden_import_and_a_later_name_are_seen(tmp_path):
    cells = ['#| hide\nimport os', '#| export\ndef f(): return g()', '#| export\ndef g(): return os.sep', 'f(later)', 'import os\nlater = [o for o in os.sep]',
        '#| eval: false\nnowhere', 'def h(): return os.sep+nothing', '%matplotlib inline\nfrom json import *\nloads(later)']
    page = tmp_path/'page.ipynb'
    page.write_text(json.dumps(dict(cells=[dict(cell_type='code', source=[o]) for o in cells])))
    assert [*not_made(page)]==[(3,['later']), (6,['nothing'])]

@pytest.mark.parametrize('page', PAGES, ids=lambda o: o.stem)
def test_what_a_visible_cell_uses_was_made_in_a_visible_one(page):
    assert [*not_made(page)]==[]
