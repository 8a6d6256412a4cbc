"""Where the nodes of an example workflow stand in the graph editor: in columns, by their titles."""

SIDES = (
    ("More of it", "Less of it"),
    ("Face with more", "Face with less"),
    ("Identity with more", "Identity with less"),
)

# Columns of the layout, by the nodes' titles.
COLUMNS = {
    "Models": ("Load Checkpoint", "Load HyperLoRA", "Load a style LoRA", "The saved person"),
    "Photos": (
        "Photo",
        "Photo 1",
        "Photo 2",
        "Photo 3",
        "Photo of one",
        "Photo of the other",
        *SIDES[0],
        "Another photo of the person",
        "Picture with two people",
    ),
    "Faces": ("HyperLoRA Detect Faces", "HyperLoRA Photo Report", "Face of one", "Face of the other", *SIDES[1]),
    "The person": (
        "HyperLoRA Load Identity",
        "HyperLoRA Encode Identity",
        "HyperLoRA Encode Base",
        "HyperLoRA Portrait",
        "Identity of one",
        "Identity of the other",
        *SIDES[2],
    ),
    "Two people": ("The first person", "The second person", "LoRA of the first", "LoRA of the second"),
    "Where they are": ("The whole picture", "Half of it", "Left half", "Right half"),
    "Mixing": (
        "HyperLoRA Mix Photos",
        "How well the photos agree",
        "HyperLoRA Block Strengths",
        "HyperLoRA Blend People",
        "HyperLoRA Make Slider",
        "HyperLoRA Save Identity",
        "HyperLoRA Save Slider",
    ),
    "The LoRA": (
        "HyperLoRA Generate LoRA",
        "HyperLoRA Generate Slider",
        "HyperLoRA Schedule",
        "HyperLoRA Apply LoRA",
        "HyperLoRA Apply per Picture",
        "HyperLoRA Apply in Regions",
        "Apply the person",
        "Apply the slider",
        "HyperLoRA Save LoRA",
    ),
    "Prompt": (
        "CLIP Set Last Layer",
        "Prompt: begin with the trigger words",
        "Prompt of the first",
        "Prompt of the second",
        "Negative prompt",
    ),
    "Who and where": ("First person for prompt", "Second person for prompt", "Both prompts"),
    "Where things are": (
        "Photo of the pose",
        "Face of the pose",
        "HyperLoRA Face Keypoints",
        "Load ControlNet",
        "Picture to follow",
        "Canny",
        "Apply ControlNet",
    ),
    "Sampling": ("Size", "KSampler", "VAE Decode", "HyperLoRA Sample until Alike", "HyperLoRA Refine Faces"),
    "Judgement": ("HyperLoRA Likeness", "The scores"),
    "Portrait": ("Save Image",),
}

# Least sizes, with room for pictures.
SIZES = {
    "LoadImage": (280, 320),
    "HyperLoRADetectFaces": (300, 520),
    "HyperLoRASchedule": (300, 460),
    "HyperLoRAApplyRegions": (300, 420),
    "HyperLoRAMixPhotos": (300, 320),
    "HyperLoRABlend": (300, 320),
    "HyperLoRASaveIdentity": (300, 320),
    "HyperLoRAEncodeIdentity": (300, 480),
    "HyperLoRAEncodeBase": (300, 620),
    "HyperLoRALoadIdentity": (300, 220),
    "HyperLoRAPhotoReport": (300, 420),
    "HyperLoRAFaceKeypoints": (300, 460),
    "HyperLoRALikeness": (340, 560),
    "HyperLoRASampleUntilAlike": (340, 820),
    "HyperLoRARefineFaces": (340, 900),
    "PreviewAny": (300, 180),
    "HyperLoRAPortrait": (320, 500),
    "CLIPTextEncode": (340, 160),
    "SaveImage": (460, 540),
}

# Takes [COLUMNS, SIZES], and lays the open graph out.
LAY_OUT = """([columns, sizes]) => {
    const graph = window.app.rootGraph, gap = 40, title = 60;  // with room for badges below a node
    const grow = node => {
        const least = sizes[node.type] ?? [0, 0], own = node.computeSize();
        node.setSize([Math.max(least[0], own[0], 280), Math.max(least[1], own[1])]);
    };
    let x = 0;
    for (const [name, titles] of Object.entries(columns)) {
        const nodes = titles.flatMap(t => graph.nodes.filter(n => n.title === t));
        if (!nodes.length) continue;
        nodes.forEach(grow);
        const width = Math.max(...nodes.map(n => n.size[0]));
        let y = title;
        for (const node of nodes) {
            node.setSize([width, node.size[1]]);
            node.pos = [x, y];
            y += node.size[1] + gap + title;
        }
        const group = new window.LiteGraph.LGraphGroup(name);
        group._bounding.set([x - gap / 2, -title - gap / 2, width + gap, y + gap / 2]);
        graph.add(group);
        x += width + 2 * gap;
    }
}"""
