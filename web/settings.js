// The pack's settings in ComfyUI's dialog. settings.json lists them; nodes/host/settings.py reads their values.

import { app } from "../../scripts/app.js";
import { aboutPage } from "./doctor.js";

const settings = await (await fetch(new URL("settings.json", import.meta.url))).json();

app.registerExtension({
    name: "HyperLoRA.settings",
    settings: settings.map((setting) => (setting.type === "aboutPage" ? { ...setting, type: aboutPage } : setting)),
});
