"""First epochs of the published optimisers' recipes, their training loss beside that of 20 published runs.

python benchmarks/first_epochs.py DATA: half an hour on one core with fast bfloat16; a run is stopped after its first epoch, and rows that are in the record stay.
The learning rate is flat until half of the run, so nothing of the rest is needed. `ralamb`, with LAMB's trust ratio, is the form that should stand out.
After one epoch it does not: the record says `ok: false`, and only the definition, which the tests hold, tells the two ratios apart."""
import json,sys,warnings
warnings.simplefilter('ignore')
import torch
from common import RECORDS,save
from fastai.basics import Callback,CancelFitException
from simpleattn.published import published_epochs
from simpleattn.recipes import derive,load_recipes
from simpleattn.train import fit_recipe,get_learner,keep_freed_memory

EPOCHS = 1
ARMS = [ # recipe, optimiser, and whether it is to be like the published one
    ('woof-128-5-ralamb-v1', 'ralamb-published', True),
    ('woof-128-5-ralamb-v1', 'ralamb', False),
    ('woof-128-5-over9000-v1', 'over9000-published', True)]

class StopAfter(Callback):
    "End the fit after some epochs"
    order = 60 # after the recorder
    def __init__(self, epochs): self.epochs = epochs
    def after_epoch(self):
        if self.epoch+1>=self.epochs: raise CancelFitException()

def losses(recipe, data, seed=0):
    "Training loss after each of the first epochs"
    learn = get_learner(recipe, 'baseline', seed, data, device='cpu', cbs=StopAfter(EPOCHS))
    with learn.no_bar(), learn.no_logging(): fit_recipe(learn, recipe)
    return [row[0] for row in learn.recorder.values]

def rows(name, opt, like_theirs, data):
    "A row an epoch: our loss, theirs, and how many of their standard deviations lie between"
    recipe = load_recipes()[name]
    theirs = published_epochs(recipe).groupby('epoch').train_loss
    for epoch,loss in enumerate(losses(derive(recipe, opt=opt, precision='bfloat16'), data), 1):
        mean,sd = theirs.mean()[epoch], theirs.std()[epoch]
        sds = (loss-mean)/sd
        yield dict(recipe=name, optimiser=opt, epoch=epoch, train_loss=round(loss, 4), published=round(mean, 4), sd=round(sd, 4),
            n=int(theirs.count()[epoch]), sds_above=round(sds, 2), like_theirs=like_theirs, ok=bool((abs(sds)<3)==like_theirs))

def main(data=None):
    torch.set_num_threads(1)
    keep_freed_memory()
    record = RECORDS/'first_epochs.json'
    made = json.loads(record.read_text())['rows'] if record.is_file() else []
    for name,opt,like_theirs in ARMS:
        if any(row['optimiser']==opt for row in made): continue
        made += rows(name, opt, like_theirs, data)
        print(made[-1], flush=True)
        save('first_epochs', made, 'torch', 'fastai', ok=all(row['ok'] for row in made), precision='bfloat16', images='Imagewoof at 160 px made from the 320 px files')
    return all(row['ok'] for row in made)

if __name__=='__main__': sys.exit(not main(*sys.argv[1:]))
