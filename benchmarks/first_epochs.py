"""First epochs of the published optimisers' recipes, their training loss beside that of 20 published runs.

python benchmarks/first_epochs.py DATA: half an hour on one core with fast bfloat16, in which a run is stopped after its first epoch.
The learning rate is flat until half of the run, so nothing of the rest is needed. `ralamb`, with LAMB's trust ratio, is the form that must stand out."""
import sys,warnings
warnings.simplefilter('ignore')
from common import save
from fastai.basics import Callback,CancelFitException
from simpleattn.published import published_epochs
from simpleattn.recipes import derive,load_recipes
from simpleattn.train import fit_recipe,get_learner,keep_freed_memory

EPOCHS = 1
ARMS = {'woof-128-5-ralamb-v1':'ralamb-published', 'woof-128-5-over9000-v1':'over9000-published'}
OTHER = {'woof-128-5-ralamb-v1':'ralamb'}

class StopAfter(Callback):
    "End the fit after some epochs"
    def __init__(self, epochs): self.epochs = epochs
    def after_epoch(self):
        if self.epoch+1>=self.epochs: raise CancelFitException()

def first_epochs(recipe, data, seed=0):
    "Training loss after each of the first epochs"
    learn = get_learner(recipe, 'baseline', seed, data, device='cpu', cbs=StopAfter(EPOCHS))
    with learn.no_bar(), learn.no_logging(): fit_recipe(learn, recipe)
    return [row[0] for row in learn.recorder.values]

def rows(data):
    recipes = load_recipes()
    for optimisers,like_theirs in ((ARMS, True), (OTHER, False)):
        for name,opt in optimisers.items():
            theirs = published_epochs(recipes[name]).groupby('epoch').train_loss
            ours = first_epochs(derive(recipes[name], opt=opt, precision='bfloat16'), data)
            for epoch,loss in enumerate(ours, 1):
                mean,sd = theirs.mean()[epoch], theirs.std()[epoch]
                sds = (loss-mean)/sd
                yield dict(recipe=name, optimiser=opt, epoch=epoch, train_loss=round(loss, 4), published=round(mean, 4), sd=round(sd, 4),
                    n=int(theirs.count()[epoch]), sds_above=round(sds, 2), like_theirs=like_theirs, ok=(abs(sds)<3)==like_theirs)

def main(data):
    import torch
    torch.set_num_threads(1)
    keep_freed_memory()
    made = []
    for row in rows(data):
        made.append(row)
        print(row, flush=True)
    ok = all(row['ok'] for row in made)
    save('first_epochs', made, 'torch', 'fastai', ok=ok, images='Imagewoof at 160 px made from the 320 px files', precision='bfloat16')
    return ok

if __name__=='__main__': sys.exit(not main(sys.argv[1]))
