"Signatures and their documentation, read from exported code without running it"
import ast,io,re,tokenize
from html import escape

def signatures(
    code:str,     # Of an exported cell
    module:str,   # Where it is exported to
    lines:list,   # Of that module
    headings:set  # Of its page, in small letters; those of the signatures are added
): # Markdown, one text for each public function or class
    "Name, signature with a link to the source, what it does, and its parameters"
    comments = _comments(code)
    for node in ast.parse(code).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith('_'):
            yield _documented(node, comments, module, lines, headings)

def folded(
    code:str # Of an exported cell
)->str: # HTML on one line, which markdown leaves alone
    "Code that a click shows"
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer
    html = highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip().replace('\n', '&#10;').replace('$', '&#36;')
    names = [n.name for n in ast.parse(code).body if hasattr(n, 'name')]
    said = f"Code of {', '.join(f'<code>{o}</code>' for o in names[:6])}{' ...' if len(names)>6 else ''}" if names else 'Code'
    return f'<details class="code"><summary>{said}</summary><div class="highlight"><pre><code>{html}</code></pre></div></details>'

def _comments(code):
    "Line -> its comment"
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return {t.start[0]:t.string.lstrip('# ') for t in tokens if t.type==tokenize.COMMENT}

def _documented(node, comments, module, lines, headings):
    function = _constructor(node)
    name = f'{_patched(node)}{node.name}'
    source = f'<a href="source/{module}.html#L-{_line_of(node, lines)}">source</a>'
    signature = escape(_signature(name, node, function))
    rows = ''.join(f'<tr><td><code>{escape(p)}</code></td><td>{_as_html(said)}</td></tr>' for p,said in _parameters(node, function, comments))
    table = f'<table class="parameters"><tbody>{rows}</tbody></table>' if rows else ''
    doc = ' '.join((ast.get_docstring(node) or '').split())
    head = f'<p class="signature"><code>{signature}</code> {source}</p>'
    parts = [f'### {_heading(name, module, headings)}', head, f'<p>{_as_html(doc)}</p>' if doc else '', table]
    return '\n\n'.join(filter(None, parts)).replace('$', '&#36;')

def _heading(name, module, headings):
    "A heading that the page does not have yet"
    heading = f'{module}.{name}' if re.sub(r"\W+", "", name).lower() in headings else name
    headings.add(re.sub(r"\W+", "", heading).lower())
    return heading

def _as_html(text):
    "A line with its code set as code"
    return re.sub(r'`([^`]+)`', r'<code>\1</code>', escape(text, quote=False))

def _constructor(node):
    "The function whose parameters are those of a function or class; None for a dataclass, or where there are none"
    if not isinstance(node, ast.ClassDef): return node
    return next((o for o in node.body if isinstance(o, ast.FunctionDef) and o.name=='__init__'), None)

def _patched(node):
    "`Study.` where a method is patched into it"
    if isinstance(node, ast.ClassDef) or not any('patch' in ast.unparse(o) for o in node.decorator_list): return ''
    return f'{ast.unparse(node.args.args[0].annotation)}.'

def _fields(node): return [o for o in node.body if isinstance(o, ast.AnnAssign) and not o.target.id.startswith('_')] if isinstance(node, ast.ClassDef) else []

def _signature(name, node, function):
    if function is None:
        return f"{name}({', '.join(o.target.id for o in _fields(node))})"
    arguments = re.sub(r'^self(: ?\w+)?(, )?', '', ast.unparse(function.args))
    returns = f' -> {ast.unparse(function.returns)}' if function.returns else ''
    return f'{name}({arguments}){returns}'

def _parameters(node, function, comments):
    "Names with what is said of them; what comes back last"
    if function is None:
        yield from ((o.target.id, comments[o.lineno]) for o in _fields(node) if o.lineno in comments)
        return
    a = function.args
    for o in [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs, *([a.kwarg] if a.kwarg else [])]:
        alone = function.lineno < o.lineno
        if o.arg!='self' and alone and o.lineno in comments: yield o.arg, comments[o.lineno]
    end = function.body[0].lineno-1
    last = max([o.end_lineno for o in ast.walk(a) if hasattr(o, 'end_lineno')], default=function.lineno)
    if end in comments and (end>last or function.lineno==end): yield 'returns', comments[end]

def _line_of(node, lines):
    "Where it stands in its module: the one line that begins as it does"
    kind = 'class' if isinstance(node, ast.ClassDef) else 'def'
    starts = [i for i,line in enumerate(lines, 1) if re.match(rf'{kind} {node.name}\b', line)]
    return starts[0] if starts else 1
