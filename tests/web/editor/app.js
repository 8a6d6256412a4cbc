// As much of the editor's app as the modules of web/ that have no DOM use.

const toasts = [];
const settings = { "Comfy.Locale": "en" };
const localeListeners = [];

export const extensions = {};

export const app = {
    registerExtension: (extension) => {
        extensions[extension.name] = extension;
    },
    extensionManager: {
        toast: { add: (toast) => toasts.push(toast) },
        setting: { get: (id) => settings[id] },
    },
    ui: { settings: { addEventListener: (_, listener) => localeListeners.push(listener) } },
};

/** The toasts since the last call. */
export const takeToasts = () => toasts.splice(0);

/** Choose another language, as in the editor's settings. */
export async function setLocale(value) {
    await Promise.all(localeListeners.map((listener) => listener({ detail: { value } })));
}
