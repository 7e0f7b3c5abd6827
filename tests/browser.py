"Headless Chromium through its DevTools protocol: what a page asks for, what it complains of, what a click does"
import base64,json,shutil,subprocess,time
from pathlib import Path
import pytest

FLAGS = 'headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update disable-sync hide-scrollbars remote-debugging-port=0 remote-allow-origins=*'

class Page:
    "A page that is open in a browser of its own; `events` holds all that it reported"
    def __init__(self, profile):
        websocket = pytest.importorskip('websocket', reason='websocket-client, which JupyterLab brings, is not here')
        browser = shutil.which('chromium') or shutil.which('google-chrome') or shutil.which('chromium-browser')
        if not browser: pytest.skip('no chromium here')
        self.proc = subprocess.Popen([browser, *(f'--{o}' for o in FLAGS.split()), f'--user-data-dir={profile}', 'about:blank'], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        at,until = Path(profile)/'DevToolsActivePort',time.time()+60
        while not (at.is_file() and len(at.read_text().split('\n'))==2):
            if time.time()>until or self.proc.poll() is not None: self.close(); pytest.skip('chromium does not start here')
            time.sleep(.1)
        port,path = at.read_text().split('\n')
        self.ws,self.n,self.events,self.session = websocket.create_connection(f'ws://127.0.0.1:{port}{path}', timeout=60, suppress_origin=True),0,[],None
        target = self('Target.createTarget', url='about:blank')['targetId']
        self.session = self('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for o in ('Page','Runtime','Log','Network'): self(f'{o}.enable')

    def __call__(self, method, **params): # A command's result
        self.n += 1
        self.ws.send(json.dumps(dict(id=self.n, method=method, params=params, **({'sessionId':self.session} if self.session else {}))))
        while (m := json.loads(self.ws.recv())).get('id')!=self.n: self.events.append(m)
        assert 'error' not in m, (method, m)
        return m['result']

    def open(self, file, width=1280, height=900, dark=False, media=''):
        "Load a file as a screen of this width shows it, and wait until it is whole"
        phone = width<600
        self('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)
        self('Emulation.setEmulatedMedia', media=media, features=[dict(name='prefers-color-scheme', value='dark' if dark else 'light')])
        self('Page.navigate', url=Path(file).resolve().as_uri())
        until = time.time()+60
        while self.js('document.readyState+location.protocol')!='completefile:':
            assert time.time()<until, f'{file} did not load'
            time.sleep(.1)
        return self

    def js(self, code): # The value of an expression
        res = self('Runtime.evaluate', expression=code, returnByValue=True)
        assert 'exceptionDetails' not in res, res
        return res['result'].get('value')

    def click(self, element): # A real click, at the middle of an element
        x,y = self.js(f"(e => {{ e.scrollIntoView({{block: 'center', inline: 'center'}}); const r = e.getBoundingClientRect(); return [r.x+r.width/2, r.y+r.height/2] }})({element})")
        for o in ('mousePressed','mouseReleased'): self('Input.dispatchMouseEvent', type=o, x=x, y=y, button='left', clickCount=1)

    def said(self, *methods): return [e['params'] for e in self.events if e.get('method') in methods]
    def complaints(self): return self.said('Runtime.exceptionThrown','Runtime.consoleAPICalled','Log.entryAdded')
    def requests(self): return [o['request']['url'] for o in self.said('Network.requestWillBeSent')]

    def shot(self, file, tall=12000):
        "A picture of the whole page"
        h = min(tall, self.js('document.documentElement.scrollHeight'))
        w = self.js('document.documentElement.clientWidth')
        res = self('Page.captureScreenshot', captureBeyondViewport=True, clip=dict(x=0, y=0, width=w, height=h, scale=1))
        Path(file).write_bytes(base64.b64decode(res['data']))

    def close(self):
        if hasattr(self, 'ws'): self.ws.close()
        self.proc.terminate()
        try: self.proc.wait(20)
        except subprocess.TimeoutExpired: self.proc.kill(); self.proc.wait()
