"""How much a trained network's accuracy depends on the sharpness of the validation images.

python benchmarks/sharpness.py DATA CHECKPOINT...: a minute for each. A checkpoint is what `train_one(..., checkpoints=FOLDER)` leaves after a run's last epoch
when called without `root`. Our archive, made from the 320 px files, is larger than the published one, so its images may hold more detail. In training every
image is resized, in validation none is. Here the validation images are blurred, as a softer filter would have made them, or sharpened; everything else stays."""
import sys,warnings
from pathlib import Path
warnings.simplefilter('ignore')
import numpy as np,torch
from PIL import Image,ImageFilter
from fastai.vision.core import imagenet_stats
from common import save
from simpleattn.data import center_crop
from simpleattn.recipes import load_recipes
from simpleattn.train import get_learner

PUBLISHED_ARCHIVE = 92_612_825 # bytes of the official archive of 160 px
FILTERS = {
    'as they are':None,
    'blurred, sd 0.3 px':ImageFilter.GaussianBlur(.3),
    'blurred, sd 0.5 px':ImageFilter.GaussianBlur(.5),
    'blurred, sd 0.7 px':ImageFilter.GaussianBlur(.7),
    'sharpened by 30 %':ImageFilter.UnsharpMask(radius=1, percent=30, threshold=0)}

def filtered(image, how): return np.array(Image.fromarray(image).filter(how)) if how else image

def crops(images, how, recipe):
    "(n, 3, size, size) validation crops, normalised as in training"
    made = torch.stack([center_crop(filtered(o, how), recipe.size, recipe.val_extra) for o in images])
    mean,sd = (torch.tensor(o)[:,None,None] for o in imagenet_stats)
    return (made/255-mean)/sd

@torch.no_grad()
def validated(learn, images, labels, how, recipe):
    "Loss and accuracy of a network over the images after a filter"
    batches = crops(images, how, recipe).split(100)
    outputs = torch.cat([learn.model(o.to(memory_format=torch.channels_last)) for o in batches])
    return learn.loss_func(outputs, labels).item(), (outputs.argmax(1)==labels).float().mean().item()

def rows(checkpoint, data, recipe):
    "A row for each filter"
    state = torch.load(checkpoint, weights_only=True, map_location='cpu')
    *_,seed,path,_ = state['key']
    run = path.removesuffix('.json')
    variant = run.split('/')[1]
    learn = get_learner(recipe, variant, seed, data, device='cpu')
    learn.model.load_state_dict(state['model'])
    learn.model.eval()
    part = learn.dls.valid.dataset
    images = [np.array(part.imgs[i]) for i in part.rows]
    for name,how in FILTERS.items():
        loss,accuracy = validated(learn, images, torch.as_tensor(part.labels), how, recipe)
        yield dict(run=run, epoch=state['epoch'], images=name, valid_loss=round(loss, 4), accuracy=round(accuracy, 4))

def main(data=None, *checkpoints):
    torch.set_num_threads(1)
    recipe = load_recipes()['woof-128-5-v1']
    made = []
    for checkpoint in checkpoints:
        for row in rows(checkpoint, data, recipe):
            made.append(row)
            print(row, flush=True)
    if not made: return
    save('sharpness', made, 'torch', 'pillow', n_images=500, evaluated_in='float32', images='Imagewoof at 160 px made from the 320 px files',
        archive_bytes=Path(data).stat().st_size, published_archive_bytes=PUBLISHED_ARCHIVE)

if __name__=='__main__': sys.exit(main(*sys.argv[1:]))
