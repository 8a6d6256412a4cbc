"""The notes on the example workflows, as an artist reads them in the graph editor."""

# The notes. Code spans are unreadable on a note in one of the front end's two modes, so names are in bold or italics.
MODELS = """
**Models**

- HyperLoRA: the folder *sdxl_hyper_id_lora_v1_fidelity*, in *models/hyper_lora*
  ([get it](https://huggingface.co/bytedance-research/HyperLoRA))
- CLIP ViT-L/14: a *.safetensors* file, in *models/clip_vision*
  ([get it](https://huggingface.co/openai/clip-vit-large-patch14))
- antelopev2: its *.onnx* files, in *models/insightface/models/antelopev2*
- an SDXL checkpoint: RealVisXL 4.0 works best

The menu's **HyperLoRA › HyperLoRA models** says what is missing, and fetches it.
"""

SHOWN = """
The picture in the list of templates is a result of the pack's demo, whose small models know drawn people alone.
"""

STEPS = """
2. Begin the **prompt** with the trigger words: **fcsks fxhks fhyks,**
3. Queue. Look at the **crops** on HyperLoRA Portrait: the right face, whole, on grey?

**id_weight** 0.75 to 0.85 suits the released models. Use photos of yourself, or of people who agreed.
"""

NOTES = {
    "portrait_simple": f"""# A person in one node

1. Choose a **photo** that shows the face clearly.{STEPS}{MODELS}""",
    "portrait_several_photos": f"""# A person from several photos

1. Choose **photos** of one person, from different sides. A free slot appears as you connect.{STEPS}{MODELS}""",
    "portrait_steps": f"""# The single steps

The same way as HyperLoRA Portrait, with every setting within reach: which **face** of a group photo, what CLIP sees,
the **weights**, and the LoRA saved under *output/loras*.
{MODELS}""",
    "portrait_steps_base": f"""# Identity and surroundings

**Encode Base** adds background, clothing and light of the photo as a LoRA of its own, at **base_weight** 0.4. It needs
a HyperLoRA with Base parts, which the released ones do not have.
{MODELS}""",
    "portrait_controlnet_lora": f"""# With ControlNet and another LoRA

Lines of a second picture say where everything is, another LoRA how it is drawn (here SDXL's own example), HyperLoRA who
it is. LoRAs may stand before or after it: the picture is the same.
{MODELS}""",
    "identity_save": f"""# Keep a person

Photos of one person become an identity, a small file under *models/hyper_lora/identities*. **Mix Photos** weighs them,
and drops those that look like somebody else; it says which. The picture shows what was kept.

The file is a person's likeness: keep it for people who agreed.
{MODELS}""",
    "identity_load": f"""# A kept person

**Load Identity** needs no photo any more: choose a file that **Save Identity** wrote. Press **R** to refresh the list.

Begin the prompt with the trigger words: **fcsks fxhks fhyks,**
{MODELS}""",
    "people_blend": f"""# Between two people

**Blend People** makes one person of two: **amount** 0 is the first, 1 the second. **Block Strengths** multiply it in
each part of the UNet: with *up* at 0, the way up stays the first person's.
{MODELS}""",
    "slider": f"""# A slider

Two photos that differ in one thing, as the same person smiling and serious, become a **slider**; its strength turns
that thing up and, below 0, down. Here it stands beside another person's LoRA. More pairs make it purer: connect them in
order.
{MODELS}""",
    "people_batch": f"""# One person a picture

The first person on the first picture of the batch, the second on the second, in one pass. Set the **batch size** to the
number of people; free slots appear as you connect.

The people are kept identities: see the template **identity_save**.
{MODELS}""",
    "people_regions": f"""# Two people in one picture

One prompt, two masks: each person is drawn where their mask is, what no mask covers is the model's own. Paint masks of
your own, soft edges are welcome. The prompt says that there are two people, and where.
{MODELS}""",
    "people_prompts": f"""# Two people, two prompts

Each person has a prompt and a mask. Chain the nodes **MODEL to MODEL**, and join the prompts. The picture is that of
ComfyUI's hooks, drawn in one pass. Begin each prompt with the trigger words: **fcsks fxhks fhyks,**
{MODELS}""",
    "schedule": f"""# A strength that changes

The person comes in after the composition stands, and leaves the last details a little freer. *run-time* applies the
LoRA while the model runs: nothing is patched when the person changes, and it is exact on fp8 models.
{MODELS}""",
    "likeness": f"""# The best of several

Four pictures, judged by a **photo that was not encoded**, the best first. The report names the face model that judges:
the one that the person was encoded by flatters.
{MODELS}""",
    "sample_until_alike": f"""# Until it is alike

Draws one seed after another, and with **strengths** one strength after another, until a picture's likeness is
**enough**, and gives the best of all. The scores are on the node.
{MODELS}""",
    "faces_refine": f"""# Faces drawn again

Small faces of a picture, each drawn again at the size that the model knows best, as its person: **from left to right**,
or **by likeness** to the identities. What is no face stays as it is.
{MODELS}""",
    "keypoints_controlnet": f"""# A face in another's place

**Face Keypoints** of a second photo say where the face is and where it looks, for InstantID's ControlNet; who it is
comes from the first. **Photo Report** says what that photo is worth.

- InstantID's ControlNet: its *ControlNetModel* file, in *models/controlnet*
  ([get it](https://huggingface.co/InstantX/InstantID))
{MODELS}""",
    "saved_lora": """# A saved person

A LoRA that **HyperLoRA Save LoRA** wrote is an ordinary SDXL LoRA: it needs no photo and no HyperLoRA any more. Press
**R** to refresh the list. Load it with strength 1: the weights it was generated with are in it.

Begin the prompt with the trigger words: **fcsks fxhks fhyks,**
""",
}
