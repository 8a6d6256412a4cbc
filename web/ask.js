// What the pack's own routes answer.

import { api } from "../../scripts/api.js";

/** Send an object to a route; its answer, or an error with the server's sentence. */
export async function post(path, content) {
    const response = await api.fetchApi(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(content),
    });
    return answered(response);
}

/** What a route tells. */
export async function get(path) {
    return answered(await api.fetchApi(path));
}

async function answered(response) {
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.error ?? `${response.status} ${response.statusText}`);
    return answer;
}

/** Where a picture is that the server gave: whole, or by the names that ComfyUI knows it by. */
export function address(image) {
    return typeof image === "string" ? image : api.apiURL(`/view?${new URLSearchParams(image)}`);
}
