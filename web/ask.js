// Requests to the pack's own routes.

import { api } from "../../scripts/api.js";

/** POST an object as JSON; the answer's object. An error has the server's sentence. */
export async function post(path, content) {
    const response = await api.fetchApi(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(content),
    });
    return contentOf(response);
}

/** GET; the answer's object. */
export async function get(path) {
    return contentOf(await api.fetchApi(path));
}

async function contentOf(response) {
    const content = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(content.error ?? `${response.status} ${response.statusText}`);
    return content;
}

/** The URL of a picture: it is one already, or it is the query by which ComfyUI's /view finds a file. */
export function imageUrl(image) {
    return typeof image === "string" ? image : api.apiURL(`/view?${new URLSearchParams(image)}`);
}
